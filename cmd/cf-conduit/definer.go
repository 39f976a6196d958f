package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"regexp"
	"strings"
)

// Dumps of MySQL name the account that defined a view, a trigger, a routine or an event. In another server nobody has
// that account, and no account may make things in another's name, so that an import would stop half-way. Whoever
// imports becomes the definer. That needs no understanding of SQL but where a statement begins.

// takeOver copies what the mysql client is to read, and makes whoever runs it the definer of all that it makes.
type takeOver struct {
	in        *bufio.Reader
	out       *bufio.Writer
	delimiter string // that ends statements
	code      int    // how many comments are open whose contents are code, as in /*!50003 … */
	taken     int    // definers that have been replaced
}

// copyTakingOver copies SQL from in to out until in ends. It tells how many definers it has replaced. What a program
// has sent, however slowly, is passed on before more is waited for.
func copyTakingOver(out io.Writer, in io.Reader) (taken int, err error) {
	c := takeOver{out: bufio.NewWriterSize(out, 64<<10), delimiter: ";"}
	c.in = bufio.NewReaderSize(flushing{in, c.out}, 64<<10)
	for err == nil {
		err = c.statement()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return c.taken, errors.Join(err, c.out.Flush())
}

// flushing is a reader that first passes on what has been written.
type flushing struct {
	io.Reader
	out *bufio.Writer
}

func (f flushing) Read(b []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(b)
}

const (
	// gap matches what may stand between two words: in dumps they are in comments of which servers take the contents
	// for code.
	gap = `(?:\s|/\*M?!\d*|\*/)`
	// part matches a user's or a host's name.
	part = "(?:`(?:[^`]|``)*`" + `|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|[\w$.%-]+)`
	// maxHead is how far into a statement its definer is looked for: names are short.
	maxHead = 2048
)

var (
	// defines matches the beginning of a statement that names a definer, who is its one group.
	defines = regexp.MustCompile(`(?is)^` + gap + `*(?:CREATE|ALTER)` + gap + `+(?:OR` + gap + `+REPLACE` + gap + `+)?` +
		`(?:ALGORITHM` + gap + `*=` + gap + `*\w+` + gap + `+)?DEFINER` + gap + `*=` + gap +
		`*(` + part + `(?:` + gap + `*@` + gap + `*` + part + `)?)` +
		gap + `+[^\s@/*]`)
	// nextWord matches the beginning of a statement and its second word, or a later one where those are known that may
	// stand before a definer.
	nextWord = regexp.MustCompile(`(?is)^` + gap + `*(?:CREATE|ALTER)` + gap + `+(?:OR` + gap + `+REPLACE` + gap + `+)?` +
		`(?:ALGORITHM` + gap + `*=` + gap + `*\w+` + gap + `+)?([A-Za-z_]\w*)\W`)
	// beforeDefiner matches these words.
	beforeDefiner = regexp.MustCompile(`(?i)^(?:OR|REPLACE|ALGORITHM|DEFINER)$`)
	// ownName matches a definer that is whoever runs the statement.
	ownName = regexp.MustCompile(`(?i)^CURRENT_(USER|ROLE)$`)
	// mayDefine matches the beginning of a statement that may name one further on.
	mayDefine = regexp.MustCompile(`(?i)^` + gap + `*(?:CREATE|ALTER)\b`)
	// firstWord matches the first word of a statement when it is complete, and what begins with none.
	firstWord = regexp.MustCompile(`^` + gap + `*(?:[A-Za-z_]\w*\W|[^\w\s/*])`)
	// delimits matches a statement of the client's own that says what ends statements from there on.
	delimits = regexp.MustCompile(`(?i)^DELIMITER\s`)
)

// statement copies one statement, and what comes before it.
func (c *takeOver) statement() error {
	c.code = 0
	if err := c.space(); err != nil {
		return err
	}
	head := c.peekUntil(func(head []byte) bool { return firstWord.Match(head) })
	if delimits.Match(head) {
		line, err := c.in.ReadString('\n')
		c.delimiter = cmp.Or(strings.TrimSpace(line[len("DELIMITER"):]), c.delimiter)
		return errors.Join(c.write(line), err)
	}
	if mayDefine.Match(head) {
		if err := c.define(); err != nil {
			return err
		}
	}
	return c.rest()
}

// define copies the beginning of a statement up to its definer, if it names one, and puts another in its place.
func (c *takeOver) define() error {
	head := c.peekUntil(func(head []byte) bool {
		word := nextWord.FindSubmatch(head)
		return defines.Match(head) || word != nil && !beforeDefiner.Match(word[1])
	})
	at := defines.FindSubmatchIndex(head)
	if at == nil || ownName.Match(head[at[2]:at[3]]) {
		return nil
	}
	before := string(head[:at[2]])
	c.code = strings.Count(before, "*!") + strings.Count(before, "*M!") - strings.Count(before, "*/")
	c.taken++
	_, err := c.in.Discard(at[3])
	return errors.Join(err, c.write(before+"CURRENT_USER"))
}

// peekUntil returns what comes next: as much as is there, or as it takes to know enough.
func (c *takeOver) peekUntil(enough func(head []byte) bool) []byte {
	for n := max(1, min(c.in.Buffered(), maxHead)); ; n = min(max(n+1, c.in.Buffered()), maxHead) {
		head, err := c.in.Peek(n)
		if err != nil || n == maxHead || enough(head) {
			return head
		}
	}
}

// space copies everything up to the first byte of a statement: white space, and comments that are no code.
func (c *takeOver) space() error {
	for {
		next, err := c.in.Peek(1)
		if err != nil {
			return err
		}
		comment := c.comment()
		switch {
		case comment != "":
			err = c.through(comment)
		case strings.Contains(" \t\r\n\v\f", string(next)):
			_, err = c.copyByte()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// comment returns what ends the comment that comes next, or nothing where none comes.
func (c *takeOver) comment() (end string) {
	next, err := c.in.Peek(1)
	if err != nil || !strings.Contains("#-/", string(next)) {
		return ""
	}
	if next[0] == '#' {
		return "\n"
	}
	switch {
	case c.comes("-- "), c.comes("--\t"), c.comes("--\n"), c.comes("--\r"):
		return "\n"
	case c.comes("/*") && !c.comes("/*!") && !c.comes("/*M!"):
		return "*/"
	}
	return ""
}

// rest copies the statement to its end.
func (c *takeOver) rest() error {
	special := "'\"`#-/*" + c.delimiter[:min(1, len(c.delimiter))]
	for {
		if err := c.plain(special); err != nil {
			return err
		}
		if comment := c.comment(); comment != "" {
			if err := c.through(comment); err != nil {
				return err
			}
			continue
		}
		if c.comes(c.delimiter) {
			return c.skip(len(c.delimiter))
		}
		b, err := c.copyByte()
		switch {
		case err != nil:
			return err
		case b == '\'' || b == '"' || b == '`':
			err = c.quoted(b)
		case b == '/' && (c.comes("*!") || c.comes("*M!")):
			c.code++
			err = c.skip(1)
		case b == '*' && c.code > 0 && c.comes("/"):
			c.code--
			err = c.skip(1)
		}
		if err != nil {
			return err
		}
	}
}

// quoted copies what is quoted, to its end. A quotation mark that is doubled ends it and begins another.
func (c *takeOver) quoted(mark byte) error {
	for {
		if err := c.plain(string(mark) + `\`); err != nil {
			return err
		}
		b, err := c.copyByte()
		if err == nil && b == '\\' && mark != '`' {
			_, err = c.copyByte()
		} else if b == mark {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// through copies everything to the end of a comment.
func (c *takeOver) through(end string) error {
	if err := c.skip(min(len(end), 2)); err != nil { // of "/*", so that "/*/" does not end it
		return err
	}
	for !c.comes(end) {
		if _, err := c.copyByte(); err != nil {
			return err
		}
	}
	return c.skip(len(end))
}

// comes tells whether the text comes next. It waits for more only where what has come may be the beginning of it.
func (c *takeOver) comes(text string) bool {
	if text == "" {
		return false
	}
	first, err := c.in.Peek(1)
	if err != nil || first[0] != text[0] {
		return false
	}
	next, _ := c.in.Peek(len(text))
	return string(next) == text
}

func (c *takeOver) skip(n int) error {
	for range n {
		if _, err := c.copyByte(); err != nil {
			return err
		}
	}
	return nil
}

// plain copies what has been read, up to the first of the special bytes.
func (c *takeOver) plain(special string) error {
	there, _ := c.in.Peek(c.in.Buffered())
	if i := bytes.IndexAny(there, special); i >= 0 {
		there = there[:i]
	}
	_, err := c.out.Write(there)
	c.in.Discard(len(there))
	return err
}

func (c *takeOver) copyByte() (byte, error) {
	b, err := c.in.ReadByte()
	if err != nil {
		return 0, err
	}
	return b, c.out.WriteByte(b)
}

func (c *takeOver) write(text string) error {
	_, err := c.out.WriteString(text)
	return err
}
