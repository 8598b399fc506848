package ews

import (
	"bytes"
	"io"
	"strconv"
)

// cleaner replaces what XML 1.0 forbids and Exchange sends all the same, by white space:
// control characters, and references to characters that there are none of, as
// &#x0; (XML 1.0 §2.2, §4.1). A strict parser would refuse the whole answer for
// one subject.
type cleaner struct {
	from  io.Reader
	buf   []byte // read, and not cleaned yet
	out   []byte // clean, and not delivered yet: the end of store
	store []byte
	err   error // of from
}

// maxReference is the length of the longest reference that is looked at.
const maxReference = len("&#x0010FFFF;")

func (c *cleaner) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if c.buf == nil {
			c.buf = make([]byte, 0, 4096)
		}
		n, err := c.from.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf, c.err = c.buf[:len(c.buf)+n], err
		c.clean()
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// clean moves what is complete from buf to out. What may be the beginning of a
// reference is kept until more has come.
func (c *cleaner) clean() {
	keep := len(c.buf)
	if tail := bytes.LastIndexByte(c.buf, '&'); tail >= 0 && len(c.buf)-tail < maxReference &&
		bytes.IndexByte(c.buf[tail:], ';') < 0 && c.err == nil {
		keep = tail
	}
	c.store = append(c.store[:0], c.buf[:keep]...)
	c.out = c.store
	c.buf = append(c.buf[:0], c.buf[keep:]...)
	for i := 0; i < len(c.out); i++ {
		switch b := c.out[i]; {
		case b < 0x20 && b != '\t' && b != '\n' && b != '\r':
			c.out[i] = ' '
		case b == '&':
			blankReference(c.out[i:])
		}
	}
}

// blankReference makes the character reference at the beginning of s one to white
// space, if it is one to a character that XML does not have.
func blankReference(s []byte) {
	end := bytes.IndexByte(s[:min(len(s), maxReference)], ';')
	if end < 3 || s[1] != '#' {
		return
	}
	digits, base := s[2:end], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || allowed(rune(min(n, 1<<31-1))) {
		return
	}
	number := s[2:end] // one character for another, in as many bytes
	for i := range number {
		number[i] = '0'
	}
	if len(number) == 1 {
		number[0] = '9' // a tabulator
		return
	}
	copy(number[len(number)-2:], "32")
}

// allowed reports whether XML 1.0 has the character.
func allowed(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD ||
		r >= 0x10000 && r <= 0x10FFFF
}
