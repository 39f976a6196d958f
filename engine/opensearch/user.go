package opensearch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"golang.org/x/crypto/bcrypt"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// security is where users and roles are administered.
const security = "/_plugins/_security/api/"

// usersIndex is where the security plugin keeps users and roles.
const usersIndex = ".opendistro_security"

// userName matches the names that engine.User allows.
var userName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkUser(name string) error {
	if !userName.MatchString(name) || name == operator || name == nodeName {
		return backstay.Errorf(backstay.Invalid, "%q cannot be the name of a user.", name)
	}
	return nil
}

// internalUser is what the security plugin is told of a user.
type internalUser struct {
	Hash  string   `json:"hash"`
	Roles []string `json:"opendistro_security_roles"`
	// Reserved is whom only the operator changes: others may change their own passwords.
	Reserved bool `json:"reserved"`
}

// CreateUser makes an internal user of the security plugin's, which is told the password's hash alone. The plugin
// forgets by itself who has logged in before.
func (Engine) CreateUser(ctx context.Context, n engine.Node, u engine.User) (backstay.Credentials, error) {
	if err := checkUser(u.Name); err != nil {
		return nil, err
	}
	// A password of ours is long, and nobody guesses it: to make trying slow would slow its user down alone.
	hash, err := bcrypt.GenerateFromPassword([]byte(u.Password.Reveal()), bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	right := writes
	if u.ReadOnly {
		right = reads
	}
	err = withUsers(ctx, n, func(c *client) error {
		wanted := internalUser{string(hash), []string{right}, true}
		return c.ask(ctx, http.MethodPut, security+"internalusers/"+u.Name, wanted, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("create user %s: %w", u.Name, err)
	}
	return credentials(n, u), nil
}

// DropUser removes the user, whose next request is refused, whichever connection it comes by.
func (Engine) DropUser(ctx context.Context, n engine.Node, name string) error {
	if err := checkUser(name); err != nil {
		return err
	}
	err := withUsers(ctx, n, func(c *client) error {
		err := c.ask(ctx, http.MethodDelete, security+"internalusers/"+name, nil, nil)
		var said *refusal
		if errors.As(err, &said) && said.status == http.StatusNotFound {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("drop user %s: %w", name, err)
	}
	return nil
}

// withUsers is withAdmin for changes of users, one at a time: the plugin keeps all of them in one document.
func withUsers(ctx context.Context, n engine.Node, do func(*client) error) (err error) {
	unlock, err := n.Admin.Lock(ctx)
	if err != nil {
		return inWords(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return withAdmin(ctx, n, func(c *client) error {
		if err := usersOpen(ctx, c); err != nil {
			return err
		}
		return do(c)
	})
}

// usersOpen wants the index to be open in which the security plugin keeps users. Where it had no room to write it was
// closed, and who is let in from memory does not notice; after some tries the server leaves it closed.
func usersOpen(ctx context.Context, c *client) error {
	health := func(patience string) error {
		where := "/_cluster/health/" + usersIndex + "?wait_for_status=yellow&timeout=" + patience
		return c.ask(ctx, http.MethodGet, where, nil, nil)
	}
	var said *refusal
	err := health("0s")
	if !errors.As(err, &said) || said.status != http.StatusRequestTimeout {
		return err
	}
	if err := retryFailed(ctx, c); err != nil {
		return err
	}
	err = health("1m") // or as long as ctx goes on
	if errors.As(err, &said) && said.status == http.StatusRequestTimeout {
		return backstay.Wrapf(err, backstay.Unavailable, "OpenSearch cannot open what it keeps of users.")
	}
	return err
}

// credentials are what an app needs, with the keys of the guide's system.
func credentials(n engine.Node, u engine.User) backstay.Credentials {
	password := u.Password.Reveal()
	address := net.JoinHostPort(n.Endpoint.Host, strconv.Itoa(n.Endpoint.Port))
	uri := url.URL{Scheme: "https", User: url.UserPassword(u.Name, password), Host: address}
	c := backstay.Credentials{
		"host": n.Endpoint.Host, "port": n.Endpoint.Port, "username": u.Name, "password": password, "uri": uri.String(),
	}
	if n.TLS.Authority != "" {
		c["ca_certificate_base64"] = base64.StdEncoding.EncodeToString([]byte(n.TLS.Authority))
	}
	return n.WithAuthority(c)
}
