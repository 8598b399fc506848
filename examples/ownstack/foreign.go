package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// This file stands for the SIP library that a program has already: gosip, sipgo or
// one of its own. Nothing in it knows package sipx. It has the habits of its kind: a
// goroutine for each message, a transaction that blocks, no bounds.

// message is the library's idea of a message.
type message struct {
	method, uri string // of a request
	status      int    // of a response
	reason      string
	fields      [][2]string
	body        []byte
}

func (m *message) get(name string) string {
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// library is the library's server.
type library struct {
	conn      *net.UDPConn
	onRequest func(m *message, from *net.UDPAddr, respond func(*message))
	reading   sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]chan *message // transactions, by branch
	last    int
}

func listen(address string, onRequest func(*message, *net.UDPAddr, func(*message))) (*library, error) {
	c, err := net.ListenPacket("udp4", address)
	if err != nil {
		return nil, err
	}
	l := &library{conn: c.(*net.UDPConn), onRequest: onRequest, waiting: make(map[string]chan *message)}
	l.reading.Go(l.read)
	return l, nil
}

func (l *library) addr() *net.UDPAddr { return l.conn.LocalAddr().(*net.UDPAddr) }

func (l *library) close() {
	_ = l.conn.Close()
	l.reading.Wait()
}

func (l *library) read() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := l.conn.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		m, err := parse(buf[:n])
		if err != nil {
			continue
		}
		if m.status == 0 {
			go l.onRequest(m, from, func(res *message) { _, _ = l.conn.WriteToUDP(res.bytes(), from) })
			continue
		}
		l.mu.Lock()
		c := l.waiting[branch(m)]
		l.mu.Unlock()
		if c != nil && m.status >= 200 {
			select {
			case c <- m:
			default:
			}
		}
	}
}

// request sends a request and waits for its final response.
func (l *library) request(ctx context.Context, m *message, to *net.UDPAddr) (*message, error) {
	c := make(chan *message, 1)
	l.mu.Lock()
	l.last++
	id := fmt.Sprintf("z9hG4bKlib%d", l.last)
	l.waiting[id] = c
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, id)
	}()
	via := [2]string{"Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=%s;rport", l.addr(), id)}
	m.fields = append([][2]string{via}, m.fields...)
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 4*time.Second) {
		if _, err := l.conn.WriteToUDP(m.bytes(), to); err != nil {
			return nil, err
		}
		select {
		case res := <-c:
			return res, nil
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func branch(m *message) string {
	_, rest, _ := strings.Cut(m.get("Via"), "branch=")
	id, _, _ := strings.Cut(rest, ";")
	return id
}

func parse(data []byte) (*message, error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(data)))
	line, err := r.ReadLine()
	if err != nil {
		return nil, err
	}
	m := &message{}
	if _, err := fmt.Sscanf(line, "SIP/2.0 %d %s", &m.status, &m.reason); err != nil {
		m.method, m.uri, _ = strings.Cut(strings.TrimSuffix(line, " SIP/2.0"), " ")
	}
	for {
		line, err := r.ReadContinuedLine()
		if err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		m.fields = append(m.fields, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	m.body, err = io.ReadAll(r.R)
	return m, err
}

func (m *message) bytes() []byte {
	var b bytes.Buffer
	if m.status != 0 {
		fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", m.status, m.reason)
	} else {
		fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", m.method, m.uri)
	}
	for _, f := range m.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.Bytes()
}
