// Package terms says what a plan and its users' parameters come to: what is asked of the backend, which
// parameters are the platform's own to fulfil, what is refused, and which changes of an instance are sold.
//
// It is pure: nothing is read, written or awaited here, and the same question always has the same answer.
package terms
