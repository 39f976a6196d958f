// Package local is the backend of one machine: it passes every wish on to the keeper that runs
// there, over the keeper's Unix socket, and starts that keeper when none runs. It decides nothing and
// remembers nothing; what is wanted lies with the keeper.
package local
