package pgserver

import (
	"debug/elf"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
)

// AccountName matches the names that operating-system users have. It matches no text with a special meaning in
// pg_ident.conf, such as one that begins with a slash.
var AccountName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]*\$?$`)

// IdentMap returns pg_ident.conf, by which the operator is the administrator.
func IdentMap(operator string) (string, error) {
	if !AccountName.MatchString(operator) {
		return "", fmt.Errorf("operator %q: not the name of a user", operator)
	}
	return `operator "` + operator + `" ` + Admin + "\n", nil
}

// QuoteSetting writes a value as postgresql.conf takes it. A value with a control character is an error: a line feed
// in it would begin another setting.
func QuoteSetting(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("control character in value")
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(value) + "'", nil
}

// QuoteList writes the value of a setting that is a list, with each item in quotes.
func QuoteList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = `"` + strings.ReplaceAll(item, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ", ")
}

// Environment is that of PostgreSQL's programs.
var Environment = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}

// CompressesLog tells whether the server among these programs can compress what it logs with lz4: it is linked with
// that.
func CompressesLog(programs string) bool {
	file, err := elf.Open(filepath.Join(programs, "postgres"))
	if err != nil {
		return false
	}
	defer file.Close()
	names, err := file.ImportedLibraries()
	return err == nil && slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "liblz4.") })
}

// Clamp keeps a size within bounds.
func Clamp(b, low, high backstay.Bytes) backstay.Bytes { return min(max(b, low), high) }

// Kilobytes writes a size as postgresql.conf takes it.
func Kilobytes(b backstay.Bytes) string { return strconv.FormatInt(int64(b/backstay.KB), 10) + "kB" }
