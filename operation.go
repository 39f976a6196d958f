package backstay

import "time"

// OperationType is what an operation does to its instance or binding.
type OperationType string

const (
	Create OperationType = "create"
	Update OperationType = "update"
	Delete OperationType = "delete"
)

// OperationState is how far an operation is, in the words of the OSB and Cloud Foundry APIs.
type OperationState string

const (
	InProgress OperationState = "in progress"
	Succeeded  OperationState = "succeeded"
	Failed     OperationState = "failed"
)

// OperationKey is a broker's own name for an operation: it begins the operation's polling, and nobody else
// understands it (OSB 2.17, "operation").
type OperationKey string

// Operation is the user-visible last operation of an instance or a binding. Of one that a broker tells, the
// Type may be empty: whoever asks knows what they asked for.
type Operation struct {
	Type        OperationType
	State       OperationState
	Description string // a sentence for the user: what is going on and how far it has come
	CreatedAt   time.Time
	UpdatedAt   time.Time

	// Notice is what a broker says of an operation that has succeeded, but not quite as it was asked for: a sentence,
	// which the Description has too. The market makes an event of it, and does not keep it.
	Notice string

	// RetryAfter is how long a broker wants to be left alone before it is asked about this operation again; zero: it does
	// not say. Nobody keeps it.
	RetryAfter time.Duration

	// A broker says the following of a failed operation; nobody keeps it.
	Unusable     bool // the instance serves no more ("instance_usable": false)
	Unrepeatable bool // asking for the same update again cannot help ("update_repeatable": false)
}
