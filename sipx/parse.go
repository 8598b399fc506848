package sipx

import (
	"bytes"
	"strconv"
	"strings"
)

// Bounds of a message that is read from the network.
const (
	maxMessage = 1 << 20  // bytes
	maxFields  = 256      // each fold counts as one
	maxLine    = 16 << 10 // bytes, folds included
)

// ParseRequest reads one whole request, as in a datagram. The body ends where
// Content-Length says, or with the data where there is none (RFC 3261 §18.3).
// The error is an [*Error] with the status to answer. The result keeps no
// reference to data. Its strings are parts of one copy of the header: who keeps one
// of them for long clones it (strings.Clone).
func ParseRequest(data []byte) (*Request, error) {
	r := new(Request)
	if err := r.Parse(data); err != nil {
		return nil, err
	}
	return r, nil
}

// Parse sets r to a request, as [ParseRequest] reads it, and uses the memory of r's
// Header again. After an error r is good for another Parse alone.
func (r *Request) Parse(data []byte) error {
	start, h, body, err := parse(data, r.Header[:0])
	r.Header = h
	if err != nil {
		return err
	}
	method, rest, _ := strings.Cut(start, " ")
	uri, version, ok := strings.Cut(rest, " ")
	if !ok || len(version) < 5 || !strings.EqualFold(version[:4], "SIP/") || strings.IndexByte(version, ' ') >= 0 {
		return Errorf(400, "bad request line")
	}
	if version[4:] != "2.0" {
		return Errorf(505, "version not supported")
	}
	return r.set(method, uri, h, body)
}

// ParseResponse reads one whole response. All its fields are in Header, with
// long names; ToTag is set besides. A stack matches it to its request by the
// topmost Via and the CSeq ([Header.TopVia], [Header.CSeqMethod]).
func ParseResponse(data []byte) (*Response, error) {
	start, h, body, err := parse(data, nil)
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(start, " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !strings.EqualFold(version, "SIP/2.0") || err != nil || status < 100 || status > 699 {
		return nil, Errorf(400, "bad status line")
	}
	for i := range h {
		h[i].Name = longName(h[i].Name)
	}
	r := &Response{Status: status, Reason: reason, Header: h, Body: body}
	if to, err := ParseAddress(h.Get("To")); err == nil {
		r.ToTag = to.Tag()
	}
	return r, nil
}

// parse splits a message into its start line, fields (folds joined) and body. With
// an error it returns what it could read before. The strings it returns are parts
// of one copy of the header; the fields are appended to h.
func parse(data []byte, h Header) (start string, _ Header, body []byte, err error) {
	if len(data) > maxMessage {
		return "", h, nil, Errorf(513, "message of %d bytes", len(data))
	}
	data = bytes.TrimLeft(data, "\r\n") // RFC 3261 §7.5
	end := headEnd(data)
	head := string(data[:end])
	start, rest, ok := cutLine(head)
	if !ok {
		return "", h, nil, Errorf(400, "no header")
	}
	if hasControl(start) {
		return "", h, nil, Errorf(400, "bad start line")
	}
	var folded []byte // the value of the last field, where it has several lines
	for lines := 0; ; lines++ {
		var line string
		if line, rest, ok = cutLine(rest); !ok {
			return start, h, nil, Errorf(400, "header without end")
		}
		fold := line != "" && (line[0] == ' ' || line[0] == '\t')
		if !fold && len(folded) > 0 {
			h[len(h)-1].Value = strings.TrimSpace(string(folded))
			folded = folded[:0]
		}
		if line == "" {
			break
		}
		if len(line) > maxLine || lines == maxFields {
			return start, h, nil, Errorf(513, "header too large")
		}
		if fold {
			if len(h) == 0 {
				return start, h, nil, Errorf(400, "fold before the first field")
			}
			if len(folded) == 0 {
				folded = append(folded, h[len(h)-1].Value...)
			}
			if line = strings.TrimSpace(line); line != "" {
				folded = append(append(folded, ' '), line...)
			}
			if len(folded) > maxLine {
				return start, h, nil, Errorf(513, "header too large")
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return start, h, nil, Errorf(400, "field without colon")
		}
		if cap(h) == 0 {
			h = make(Header, 0, min(strings.Count(rest, "\n"), 24))
		}
		for strings.HasSuffix(name, " ") || strings.HasSuffix(name, "\t") {
			name = name[:len(name)-1]
		}
		h = append(h, Field{name, strings.TrimSpace(value)})
	}
	body, err = cutBody(h, data[end:])
	return start, h, body, err
}

// headEnd returns the length of the header with the empty line after it, or that
// of data where there is none.
func headEnd(data []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(data[i:], '\n')
		if j < 0 {
			return len(data)
		}
		i += j + 1
		switch rest := data[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

func cutBody(h Header, rest []byte) ([]byte, error) {
	length, seen := len(rest), false
	for _, f := range h {
		if !sameName(longName(f.Name), "Content-Length") {
			continue
		}
		n, err := strconv.ParseUint(f.Value, 10, 31)
		if err != nil || int(n) > len(rest) || seen && int(n) != length {
			return nil, Errorf(400, "Content-Length does not fit")
		}
		length, seen = int(n), true
	}
	if length == 0 {
		return nil, nil
	}
	return bytes.Clone(rest[:length]), nil
}

// cutLine cuts at LF, and drops a CR before it.
func cutLine(s string) (line, rest string, ok bool) {
	line, rest, ok = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest, ok
}
