package postgres

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// Extensions are those that may be created where the platform does not choose: all of PostgreSQL's own that it trusts,
// and two that it does not, PostGIS and pg_stat_statements. Of those we know that they let nobody out of the database.
func Extensions() []string {
	return []string{
		"btree_gin", "btree_gist", "citext", "cube", "dict_int", "fuzzystrmatch", "hstore", "intarray", "isn", "lo",
		"ltree", statistics, "pg_trgm", "pgcrypto", "postgis", "seg", "tablefunc", "tcn", "tsm_system_rows",
		"tsm_system_time", "unaccent", "uuid-ossp",
	}
}

// statistics is the extension that counts what statements take. It has a library that the server loads when it starts,
// and shows tenants what others have asked. Where somebody else starts the server it is not offered: they tell the
// server the administrator's password by a statement, and CloudNativePG drops the extension, or makes it in each
// database.
const statistics = "pg_stat_statements"

var (
	extensionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	// trusted matches the line of a control file by which PostgreSQL lets everybody create the extension.
	trusted = regexp.MustCompile(`(?m)^\s*trusted\s*=\s*'?(true|on|yes|1)\b`)
	// languages are trusted too, and run what tenants write in the server's own process.
	languages = []string{"plperl", "pltcl"}
)

// checkOffer refuses an extension that a platform cannot let tenants create, as Invalid. Its script runs as superuser,
// and what it makes may let them do what a superuser can. PostgreSQL knows of which that is not so.
func checkOffer(i engine.Installation, name string) error {
	refuse := func(why string) error {
		return backstay.Errorf(backstay.Invalid, "The extension %q cannot be offered: %s.", name, why)
	}
	switch {
	case slices.Contains(Extensions(), name):
		return nil
	case !extensionName.MatchString(name):
		return refuse("an extension has another kind of name")
	case slices.Contains(languages, name):
		return refuse("it runs programs of tenants within the server")
	}
	control, err := os.ReadFile(controlFile(i, name))
	switch {
	case os.IsNotExist(err):
		return refuse(product(i) + " does not have it on this machine")
	case err != nil:
		return err
	case !trusted.Match(control):
		return refuse("PostgreSQL trusts nobody but superusers with it")
	}
	return nil
}

// controlFile is where Debian's packages install what PostgreSQL knows of an extension.
func controlFile(i engine.Installation, name string) string {
	return filepath.Join(sharedDir(i), "extension", name+".control")
}
