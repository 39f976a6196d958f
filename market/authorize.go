package market

import "github.com/backstay/backstay"

// authorize lets the admin do everything. Anyone else is told that what they ask for does not
// exist: until organizations have members with roles that count, nothing is anyone else's to see.
func authorize(by backstay.Actor, noun string) error {
	if by.Role == backstay.Administrator {
		return nil
	}
	return backstay.Errorf(backstay.NotFound, "%s not found", noun)
}

// mayList tells whether by sees any of a list's items.
func mayList(by backstay.Actor) bool { return by.Role == backstay.Administrator }
