package keeper

import (
	"os"
	"os/user"
	"strconv"
)

// operator is the name of our own operating-system user, by which engines let us administer them.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
