package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/backstay/backstay"
)

// Numbers of the server's errors. Those below 1000 are of its files.
const (
	fileNotWritten     = 3
	diskFull           = 1021
	storageFailed      = 1030 // and the text has the number of the operating system's error
	outOfMemory        = 1037
	tooManyConnections = 1040
	noMemoryForMore    = 1041
	shuttingDown       = 1053
	noSuchThread       = 1094
	tableFull          = 1114
	lockNotHad         = 1205
	noSuchTransaction  = 1397
)

func isNumber(err error, numbers ...uint16) bool {
	var refusal *mysql.MySQLError
	return errors.As(err, &refusal) && slices.Contains(numbers, refusal.Number)
}

// inWords gives an error that can be named a sentence for the person who asked.
func inWords(err error) error {
	if err == nil || backstay.KindOf(err) != backstay.Internal {
		return err
	}
	sentence := ""
	switch {
	case isNumber(err, lockNotHad):
		sentence = "Clients of the database hold what this has to wait for. Try again."
	case isDiskFull(err):
		sentence = "The disk of the database is full."
	case isNumber(err, outOfMemory, noMemoryForMore):
		sentence = "The memory of the database is full."
	case isNumber(err, tooManyConnections):
		sentence = "Clients take all connections of the database as soon as there are any."
	case isTimeout(err):
		sentence = "The database did not answer in time."
	case isNumber(err, shuttingDown) || isGone(err):
		sentence = "The database does not answer."
	default:
		return err
	}
	return backstay.Wrapf(err, backstay.Unavailable, "%s", sentence)
}

func isDiskFull(err error) bool {
	return isNumber(err, diskFull, tableFull, fileNotWritten) ||
		isNumber(err, storageFailed) && strings.Contains(err.Error(), " 28 ") // ENOSPC
}

// isTimeout tells whether the time that the caller gave was over before there was an answer.
func isTimeout(err error) bool {
	var e net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

// isGone tells whether the server is not there, or has left in the middle.
func isGone(err error) bool {
	var e net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &e)
}
