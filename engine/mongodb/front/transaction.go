package front

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// FerretDB has no transactions over several documents. It does what is asked for in one as if it were in none, and only
// refuses the end of it: an app would take for undone what stays. So whatever is of one is refused before it is done.
const noTransactions = "There are no transactions over several documents here. Nothing of this one was done."

// errTransaction is not the one that MongoDB's own servers have where they have no transactions (20): drivers make of
// that the advice to switch retries of writes off.
var errTransaction = &refusal{code: 115, name: "CommandNotSupported", sentence: noTransactions, goesOn: true}

// errLongTransaction ends the connection, as FerretDB has begun to read what is refused.
var errLongTransaction = &refusal{code: errTransaction.code, name: errTransaction.name, sentence: noTransactions}

// isOfTransaction tells whether a command with an element of that name is of a transaction.
func isOfTransaction(name string) bool { return name == "startTransaction" || name == "autocommit" }

// commandPasser passes on the elements of a long message's command, one by one. What a name says is known before the
// message is whole.
type commandPasser struct {
	from *bufio.Reader
	to   *bufio.Writer
	left int64 // of the message
}

// passLong passes on what follows of a long message. It begins with the value of an element of that sort.
func passLong(to io.Writer, from *bufio.Reader, sort byte, length int64) error {
	c := commandPasser{from, bufio.NewWriterSize(to, 16<<10), length}
	for sort != 0 {
		if err := c.value(sort); err != nil {
			return err
		}
		var name string
		var err error
		if sort, name, err = c.next(); err != nil {
			return err
		}
		if isOfTransaction(name) {
			_, err := io.CopyN(io.Discard, from, c.left) // whoever is still writing would not read why it is refused
			return errors.Join(errLongTransaction, err)
		}
	}
	if err := c.skip(c.left); err != nil {
		return err
	}
	return c.to.Flush()
}

// next passes on of what sort the next element is, and its name. It is of the sort 0 where there is none any more.
func (c *commandPasser) next() (sort byte, name string, err error) {
	taken, err := c.take(1)
	if err != nil || taken[0] == 0 {
		return 0, "", err
	}
	name, err = c.name()
	return taken[0], name, err
}

// value passes the value of an element on. Sorts and their lengths are those of https://bsonspec.org/spec.html.
func (c *commandPasser) value(sort byte) error {
	switch sort {
	case 0x06, 0x0A, 0x7F, 0xFF: // undefined, null, the greatest, the least
		return nil
	case 0x08: // a truth
		return c.skip(1)
	case 0x10: // an integer
		return c.skip(4)
	case 0x01, 0x09, 0x11, 0x12: // a number, a moment, another one, a long integer
		return c.skip(8)
	case 0x07: // an identifier
		return c.skip(12)
	case 0x13: // a decimal number
		return c.skip(16)
	case 0x02, 0x0D, 0x0E: // texts
		return c.counted(0)
	case 0x05: // bytes, behind what kind they are
		return c.counted(1)
	case 0x0C: // a text and an identifier
		return c.counted(12)
	case 0x03, 0x04, 0x0F: // a document, an array, a program with its scope: the length counts itself
		return c.counted(-4)
	case 0x0B: // a pattern and its options
		_, first := c.name()
		_, second := c.name()
		return errors.Join(first, second)
	}
	return malformed("There is no element of the sort %d.", sort)
}

// counted passes on what is as long as its first four bytes say, and so much more.
func (c *commandPasser) counted(more int64) error {
	length, err := c.take(4)
	if err != nil {
		return err
	}
	return c.skip(int64(int32(binary.LittleEndian.Uint32(length))) + more)
}

func (c *commandPasser) skip(n int64) error {
	if n < 0 || n > c.left {
		return malformed("A message ends before its command does.")
	}
	c.left -= n
	_, err := io.CopyN(c.to, c.from, n)
	return err
}

func (c *commandPasser) take(n int) ([]byte, error) {
	if int64(n) > c.left {
		return nil, malformed("A message ends before its command does.")
	}
	c.left -= int64(n)
	taken := make([]byte, n)
	if _, err := io.ReadFull(c.from, taken); err != nil {
		return nil, err
	}
	_, err := c.to.Write(taken)
	return taken, err
}

func (c *commandPasser) name() (string, error) {
	name, err := c.from.ReadSlice(0)
	if errors.Is(err, bufio.ErrBufferFull) || int64(len(name)) > c.left {
		return "", malformed("The name of an element is too long.")
	}
	if err != nil {
		return "", err
	}
	c.left -= int64(len(name))
	said := string(name[:len(name)-1])
	_, err = c.to.Write(name)
	return said, err
}
