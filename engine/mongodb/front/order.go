package front

import (
	"crypto/rand"
	"strings"
)

// Channels of PostgreSQL's notifications.
const (
	End  = "backstay_end"  // orders to the front
	Done = "backstay_done" // the same orders, when they are carried out
)

// Order has the front end the connections of a user.
type Order struct{ User, Mark string }

// NewOrder returns an order that is like no other.
func NewOrder(user string) Order { return Order{user, rand.Text()} }

func (o Order) String() string { return o.User + " " + o.Mark }

func parseOrder(text string) Order {
	user, mark, _ := strings.Cut(text, " ")
	return Order{user, mark}
}
