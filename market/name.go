package market

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay"
)

// maxName is Cloud Foundry's limit for the names of all resources, in characters.
const maxName = 255

// checkName refuses what cannot be told apart on a screen or typed on a command line.
func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return backstay.Errorf(backstay.Invalid, "Name can't be blank")
	case utf8.RuneCountInString(name) > maxName:
		return backstay.Errorf(backstay.Invalid, "Name is too long (maximum is %d characters)", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return backstay.Errorf(backstay.Invalid, "Name must not contain control characters or invalid UTF-8")
	}
	return nil
}

// bindingNames are Cloud Controller's: apps look bindings up by name, in environments and files.
var bindingNames = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// checkBindingName is checkName for a binding to an app.
func checkBindingName(name string) error {
	err := checkName(name)
	if err == nil && !bindingNames.MatchString(name) {
		err = backstay.Errorf(backstay.Invalid,
			"The binding name is invalid. Only alphanumeric characters, hyphens, and underscores are allowed")
	}
	return err
}

// checkTags refuses more tags than Cloud Foundry takes: 2048 characters in all.
func checkTags(tags []string) error {
	total := 0
	for _, t := range tags {
		if !utf8.ValidString(t) || strings.ContainsRune(t, 0) {
			return backstay.Errorf(backstay.Invalid, "Tags must be valid UTF-8")
		}
		total += utf8.RuneCountInString(t)
	}
	if total > 2048 {
		return backstay.Errorf(backstay.Invalid, "Tags combined length of tags cannot exceed 2048 characters")
	}
	return nil
}
