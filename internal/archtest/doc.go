// Package archtest keeps the picture of the house true: imports point strictly down from floor to
// floor, each package says what it is for, and what docs/tour.md names exists. It has only tests.
package archtest
