// Package custody keeps the backups of the instances of one machine: it takes one each night, archives what is logged
// in between, removes what is older than the policy asks for, and goes on knowing of them when the instance is gone.
// When a backup is due, and which are kept, is decided in package backup; how one is taken, by the engine.
//
// Each instance has a Custodian, which works beside the goroutine that keeps the instance: nothing that a repository
// does, or does not, keeps a database from serving or from ending. What it knows lies in a Record of its own; what of
// that is lost is found again in the repository.
package custody
