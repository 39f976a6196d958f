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

// Operation is the user-visible last operation of an instance or a binding.
type Operation struct {
	Type        OperationType
	State       OperationState
	Description string // a sentence for the user: what is going on and how far it has come
	CreatedAt   time.Time
	UpdatedAt   time.Time
}
