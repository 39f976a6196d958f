// Package osb speaks the Open Service Broker API 2.17 over HTTP, at both ends: Handler serves any backstay.Broker to
// another platform, and Client is a backstay.Broker that is somewhere else. Back to back they are one broker, and
// brokertest runs on the two.
//
// What the specification has no words for, our two ends say by extensions, of which no other platform or broker notices
// anything (extension.go).
//
// Neither end keeps anything. What must outlive a process is the business of whoever asks (the market, which ends the
// orphans of its requests) and of whoever answers (the broker, whose requests have the effect of one). Whom a Handler
// serves, and what of the broker each of them sees, is for whoever opens the broker to them.
package osb

// The headers and the version of the specification.
const (
	versionHeader         = "X-Broker-API-Version"
	originatingHeader     = "X-Broker-API-Originating-Identity"
	requestIdentityHeader = "X-Broker-API-Request-Identity"

	version = "2.17"
)

// maxOperationKey is how long the key of an operation may be (OSB 2.17, "operation").
const maxOperationKey = 10_000
