// Package window says when an instance may be worked on: in a weekly maintenance window, and in a daily backup window.
// All of its times are in UTC.
//
// It is pure: the time is an argument, and chance comes from a seed.
package window
