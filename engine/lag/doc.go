// Package lag measures how old what is read from a node that follows may be, and judges by that whether to read there.
package lag
