package blackbox_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

// message is a SIP message as plain text sees it.
type message struct {
	start  string
	fields [][2]string
	body   string
}

var compact = map[string]string{
	"i": "call-id", "m": "contact", "e": "content-encoding", "l": "content-length", "c": "content-type",
	"f": "from", "s": "subject", "k": "supported", "t": "to", "v": "via", "o": "event", "u": "allow-events",
}

func sameName(a, b string) bool {
	long := func(n string) string {
		n = strings.ToLower(n)
		if l, ok := compact[n]; ok {
			return l
		}
		return n
	}
	return long(a) == long(b)
}

// get is the first value of a header field, "" where it is absent.
func (m *message) get(name string) string {
	for _, f := range m.fields {
		if sameName(f[0], name) {
			return f[1]
		}
	}
	return ""
}

func (m *message) all(name string) []string {
	var values []string
	for _, f := range m.fields {
		if sameName(f[0], name) {
			values = append(values, f[1])
		}
	}
	return values
}

func (m *message) add(name, value string) *message {
	m.fields = append(m.fields, [2]string{name, value})
	return m
}

func (m *message) del(name string) *message {
	kept := m.fields[:0:0]
	for _, f := range m.fields {
		if !sameName(f[0], name) {
			kept = append(kept, f)
		}
	}
	m.fields = kept
	return m
}

func (m *message) set(name, value string) *message {
	for i, f := range m.fields {
		if sameName(f[0], name) {
			m.fields[i][1] = value
			return m
		}
	}
	return m.add(name, value)
}

func (m *message) clone() *message {
	c := *m
	c.fields = append([][2]string(nil), m.fields...)
	return &c
}

// code is the status of a response, 0 for a request.
func (m *message) code() int {
	if !strings.HasPrefix(m.start, "SIP/2.0 ") || len(m.start) < 11 {
		return 0
	}
	n, _ := strconv.Atoi(m.start[8:11])
	return n
}

func (m *message) method() string {
	method, _, _ := strings.Cut(m.start, " ")
	return method
}

// tag is the tag parameter of From or To.
func (m *message) tag(name string) string {
	return param(m.get(name), "tag")
}

func param(value, name string) string {
	if i := strings.IndexByte(value, '>'); i >= 0 {
		value = value[i:]
	}
	for part := range strings.SplitSeq(value, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// uri is the address between the angle brackets of a value.
func uri(value string) string {
	if _, rest, ok := strings.Cut(value, "<"); ok {
		inner, _, _ := strings.Cut(rest, ">")
		return inner
	}
	bare, _, _ := strings.Cut(value, ";")
	return bare
}

// String is the message on the wire, with the Content-Length that its body has
// unless the message states one.
func (m *message) String() string {
	var b strings.Builder
	b.WriteString(m.start + "\r\n")
	for _, f := range m.fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	if m.get("Content-Length") == "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(m.body))
	}
	return b.String() + "\r\n" + m.body
}

// readMessage reads one message of a stream, or of a datagram.
func readMessage(r *bufio.Reader) (*message, error) {
	tp := textproto.NewReader(r)
	m := &message{}
	for m.start == "" {
		line, err := tp.ReadLine()
		if err != nil {
			return nil, err
		}
		m.start = line
	}
	for {
		line, err := tp.ReadContinuedLine()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("no header field: %q", line)
		}
		m.add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	length, err := strconv.Atoi(m.get("Content-Length"))
	if err != nil {
		return nil, errors.New("no Content-Length in " + m.start)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m.body = string(body)
	return m, nil
}

// token is a fresh identifier.
func token() string { return rand.Text()[:16] }
