//go:build !race

package endpoint_test

const memoryFactor = 1
