package postgres

import (
	"regexp"
	"strconv"

	"golang.org/x/text/language"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
)

// usualCollation is what most new nodes sort by. Its golden directory is made ahead.
const usualCollation = "en-US"

// collationName matches how ICU and the C library name the order of a language in a country: "en-GB", "zh-Hant-TW",
// "en_GB.UTF-8", "en_GB.utf8".
var collationName = regexp.MustCompile(`^([a-z]{2,3})[-_](?:([A-Z][a-z]{3})[-_])?([A-Z]{2})(?:\.(?:UTF-8|utf8))?$`)

// parseCollation returns ICU's name for the collation. It is empty for that of the C library's locale C, which goes by
// the numbers of characters. The C library's other locales are those of ICU here: which of its own are there depends on
// the machine. Others are Invalid.
func parseCollation(name string, i engine.Installation) (locale string, err error) {
	if name == "" || name == "C" || name == "C.UTF-8" {
		return "", nil
	}
	match := collationName.FindStringSubmatch(name)
	if match == nil || !isLanguage(match[1]) || !isCountry(match[3]) {
		return "", backstay.Errorf(backstay.Invalid, "%q is not a collation. Possible are C.UTF-8, "+
			"and a language with a country, such as en-GB, en_GB.UTF-8 or zh-Hant-TW.", name)
	}
	if major, err := strconv.Atoi(i.Version); err == nil && major < 15 {
		return "", backstay.Errorf(backstay.Invalid, "%s has no collation but C.UTF-8.", product(i))
	}
	if match[2] != "" {
		return match[1] + "-" + match[2] + "-" + match[3], nil
	}
	return match[1] + "-" + match[3], nil
}

func isLanguage(code string) bool {
	_, err := language.ParseBase(code)
	return err == nil
}

func isCountry(code string) bool {
	region, err := language.ParseRegion(code)
	return err == nil && region.IsCountry()
}
