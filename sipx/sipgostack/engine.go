package sipgostack

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/internal/wire"
)

// engine runs transactions by the state machines of sipgo. All that those must
// know of a message is its method, its transport or its status: what they have
// written is rendered already, so they get messages with nothing else in them.
type engine struct {
	log     *slog.Logger            // sipgo's, which would repeat messages
	origins map[string]*sip.Request // by transport; never changed
}

func newEngine() *engine {
	e := &engine{log: slog.New(slog.DiscardHandler), origins: make(map[string]*sip.Request)}
	for _, transport := range []string{"udp", "tcp", "tls", "ws", "wss"} {
		r := &sip.Request{Method: sip.OPTIONS} // any but INVITE
		r.SetTransport(transport)
		e.origins[transport] = r
	}
	return e
}

func (e *engine) Timeout() time.Duration { return sip.Timer_F }

func (e *engine) Close() {}

// Client implements wire.Engine.
func (e *engine) Client(transport, _, branch string, p wire.ClientParty) wire.Client {
	c := &client{party: p}
	c.tx = sip.NewClientTx(branch, e.origins[transport], c, e.log)
	c.tx.OnTerminate(func(_ string, err error) {
		if errors.Is(err, sip.ErrTransactionTimeout) {
			err = sipx.ErrTimeout
		}
		p.End(err)
	})
	_ = c.tx.Init() // writes nothing, and so does not fail
	return c
}

// client is a client transaction, and the connection that sipgo writes its
// request to.
type client struct {
	connection
	party wire.ClientParty
	tx    *sip.ClientTx
}

// WriteMsg implements sip.Connection.
func (c *client) WriteMsg(sip.Message) error { return c.party.Write() }

// Provisional makes retransmissions rarer (RFC 3261 §17.1.2.2).
func (c *client) Provisional(status int, spawn func(func()) bool) {
	taken := spawn(func() {
		// sipgo waits until the response is taken.
		select {
		case <-c.tx.Responses():
		case <-c.tx.Done():
		}
	})
	if taken {
		c.tx.Receive(&sip.Response{StatusCode: status})
	}
}

// Terminate ends the transaction at once: its Completed state would but absorb
// responses that come again, and those find nobody.
func (c *client) Terminate(int) { c.tx.Terminate() }

// Invite implements wire.Engine.
func (e *engine) Invite(key string, p wire.ServerParty) wire.Invite {
	origin := sip.NewRequest(sip.INVITE, sip.Uri{})
	origin.SetTransport("udp")
	v := &invite{party: p}
	v.tx = sip.NewServerTx(key, origin, v, e.log)
	_ = v.tx.Init() // never fails
	v.tx.OnTerminate(func(string, error) { p.End() })
	return v
}

// invite is an INVITE server transaction, and the connection that sipgo writes
// its responses to.
type invite struct {
	connection
	party wire.ServerParty
	tx    *sip.ServerTx
}

// WriteMsg implements sip.Connection.
func (v *invite) WriteMsg(msg sip.Message) error {
	status := 0
	if res, ok := msg.(*sip.Response); ok {
		status = res.StatusCode
	}
	return v.party.Write(status)
}

func (v *invite) Respond(status int) error {
	return v.tx.Respond(&sip.Response{StatusCode: status})
}

func (v *invite) Again(method string) {
	_ = v.tx.Receive(&sip.Request{Method: sip.RequestMethod(method)})
}

func (v *invite) Terminate() { v.tx.Terminate() }

// connection is the part of a sip.Connection that a transaction does not need.
type connection struct{}

func (connection) LocalAddr() net.Addr    { return nil }
func (connection) Ref(int) int            { return 1 }
func (connection) TryClose() (int, error) { return 1, nil }
func (connection) Close() error           { return nil }
