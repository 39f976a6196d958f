package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/clientenv"
)

// addPostgres sets libpq's variables. A service is verified by its own authority, whatever the caller set for
// other servers; who wants less says so in an argument, as in: psql sslmode=require.
func (s *session) addPostgres(all map[string]string) error {
	service := s.first("postgres")
	if service == nil {
		return nil
	}
	all["PGHOST"], all["PGPORT"] = loopback, strconv.Itoa(service.port)
	for name, key := range map[string]string{"PGDATABASE": "name", "PGUSER": "username", "PGPASSWORD": "password"} {
		all[name] = service.text(key)
	}
	authority, err := s.writeAuthority(slices.Index(s.services, service), service)
	switch {
	case err != nil:
		return err
	case authority == "":
		all["PGSSLMODE"] = "require"
	default:
		all["PGSSLMODE"], all["PGSSLROOTCERT"] = "verify-full", authority
	}
	return nil
}

// addMySQL leaves a my.cnf where the clients of MySQL and of MariaDB look for it when another program runs
// them. They read ~/.my.cnf after it, which only an argument keeps them from.
func (s *session) addMySQL(all map[string]string) error {
	if s.first("mysql") == nil {
		return nil
	}
	all["MYSQL_HOME"], all["MARIADB_HOME"] = s.dir, s.dir
	_, err := s.writeOptions("my.cnf", "mysql", "")
	return err
}

func (s *session) addRedis(all map[string]string) error {
	if service := s.first("redis"); service != nil {
		all["REDISCLI_AUTH"], all["VALKEYCLI_AUTH"] = service.text("password"), service.text("password")
	}
	return nil
}

// addElasticsearch says where the server is, in the words of its clients, and has curl trust it.
func (s *session) addElasticsearch(all map[string]string) error {
	service := s.first("elasticsearch")
	if service == nil {
		return nil
	}
	address, _ := service.tunnelled()["uri"].(string)
	all["ELASTICSEARCH_URL"] = address
	authority, err := s.writeAuthority(slices.Index(s.services, service), service)
	if authority != "" {
		all["CURL_CA_BUNDLE"] = authority
	}
	return err
}

// mongoAddress is the address that mongosh takes: it reads no environment. It hides what is secret in it from who lists
// processes, once it runs.
func (s *session) mongoAddress() (string, error) {
	service := s.first("mongodb")
	text, _ := service.tunnelled()["uri"].(string)
	address, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("the address of %s is none", service.name)
	}
	authority, err := s.writeAuthority(slices.Index(s.services, service), service)
	if err != nil || authority == "" {
		return text, err
	}
	query := address.Query()
	query.Set("tlsCAFile", authority)
	address.RawQuery = query.Encode()
	return address.String(), nil
}

// writeOptions leaves an option file for a client of MySQL or MariaDB, and returns its path. A file that the
// user named is read before what it says itself, which wins.
func (s *session) writeOptions(name, client, named string) (path string, err error) {
	service := s.first("mysql")
	authority, err := s.writeAuthority(slices.Index(s.services, service), service)
	if err != nil {
		return "", err
	}
	text := service.myCnf(authority, isMariaDB(client))
	if named != "" {
		if named, err = filepath.Abs(named); err != nil {
			return "", err
		}
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("read the option file of %s: %w", client, err)
		}
		text = "!include " + named + "\n" + text
	}
	path = filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// myCnf is an option file. mysqldump takes the name of its database as an argument. The clients' character
// set would come from the locale: a file in UTF-8 is to arrive as it is, and not all clients know the option.
func (s *service) myCnf(authority string, mariadb bool) string {
	var b strings.Builder
	line := func(name, value string) {
		fmt.Fprintf(&b, "%s=\"%s\"\n", name, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value))
	}
	b.WriteString("[client]\nprotocol=tcp\n")
	line("host", loopback)
	line("port", strconv.Itoa(s.port))
	line("user", s.text("username"))
	line("password", s.text("password"))
	if authority != "" {
		line("ssl-ca", authority)
	}
	switch {
	case authority == "" && mariadb:
		b.WriteString("ssl\n")
	case authority == "":
		b.WriteString("ssl-mode=REQUIRED\n")
	case mariadb:
		b.WriteString("ssl-verify-server-cert\n")
	default:
		b.WriteString("ssl-mode=VERIFY_IDENTITY\n")
	}
	for _, client := range []string{"mysql", "mysqldump", "mysqlimport", "mysqlshow", "mysqlcheck", "mysqladmin"} {
		fmt.Fprintf(&b, "[%s]\ndefault-character-set=utf8mb4\n", client)
	}
	b.WriteString("[mysql]\n")
	line("database", s.text("name"))
	return b.String()
}

// isMariaDB tells whose a client on the PATH is: each refuses the other's options for TLS. A client that does not
// say it is of the same house as the others.
func isMariaDB(client string) bool {
	for _, program := range []string{client, "mysql", "mysqldump"} {
		cmd := exec.Command(program, "--no-defaults", "--version")
		cmd.Env = clientenv.Replace(os.Environ(), nil)
		said, _ := cmd.Output()
		switch {
		case bytes.Contains(said, []byte("MariaDB")):
			return true
		case bytes.Contains(said, []byte("MySQL")):
			return false
		}
	}
	return true
}
