package endpoint

import (
	"net/netip"
	"time"
)

// Protocol is the number of the protocol that a front answers on its socket: HTTP and JSON.
//
//	GET    /v1/front     Status
//	GET    /v1/sessions  []Session
//	PUT    /v1/hold      new connections wait; 204
//	DELETE /v1/hold      they do not any more; 204
//	PUT    /v1/targets   takes []netip.AddrPort, where new connections go; 204
//	POST   /v1/cut       takes a netip.AddrPort; 204 when no session to it is left
//
// A refusal is a Problem with a status of 400 or more.
const Protocol = 1

// The paths.
const (
	StatusPath   = "/v1/front"
	SessionsPath = "/v1/sessions"
	HoldPath     = "/v1/hold"
	TargetsPath  = "/v1/targets"
	CutPath      = "/v1/cut"
)

// Settings are what a front is started with. One with others is replaced.
type Settings struct {
	Listen      []netip.AddrPort `json:"listen"`
	Connections int              `json:"connections"` // at once, those that wait included; more are refused
	Patience    time.Duration    `json:"patience"`    // that a connection may wait to be served
	Build       string           `json:"build"`       // which program it is
}

// Status is what a front tells of itself.
type Status struct {
	Protocol int      `json:"protocol"`
	PID      int      `json:"pid"`
	Settings Settings `json:"settings"`

	Held     bool      `json:"held"`
	Targets  []Target  `json:"targets"`  // those that it was told, in their order, then others that still have sessions
	Switched time.Time `json:"switched"` // when it was told others than before

	Sessions int   `json:"sessions"`  // connections that a target serves
	Waiting  int   `json:"waiting"`   // connections that wait for one
	Refused  int64 `json:"refused"`   // connections that were too many, since it began
	GivenUp  int64 `json:"given_up"`  // that have waited for too long
	ToTarget int64 `json:"to_target"` // bytes
	ToClient int64 `json:"to_client"`
}

// Target is a node that connections are carried to.
type Target struct {
	Address  netip.AddrPort `json:"address"`
	Told     bool           `json:"told"` // new connections go there
	Sessions int            `json:"sessions"`
	Trouble  string         `json:"trouble,omitempty"` // why the last connection to it failed
}

// Session is a connection that a target serves.
type Session struct {
	Client   netip.AddrPort `json:"client"`
	From     netip.AddrPort `json:"from"` // what the target takes for the client's address
	Target   netip.AddrPort `json:"target"`
	Began    time.Time      `json:"began"`
	ToTarget int64          `json:"to_target"` // bytes
	ToClient int64          `json:"to_client"`
}

// Problem is why a request was refused.
type Problem struct {
	Kind     string `json:"kind"` // a backstay.Kind by name
	Sentence string `json:"sentence"`
}
