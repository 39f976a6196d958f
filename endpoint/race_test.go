//go:build race

package endpoint_test

// memoryFactor is how much more memory a process takes with the race detector.
const memoryFactor = 12
