package gosipstack

import (
	"sync"
	"time"

	"github.com/ghettovoice/gosip/sip"
	"github.com/ghettovoice/gosip/transaction"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/internal/wire"
)

// engine runs client transactions by the state machine of gosip. All that it
// must know of a message is its branch, its method and its status: what it has
// written is rendered already, so it gets messages with nothing else in them.
type engine struct {
	mu       sync.Mutex
	finished []transaction.ClientTx // to be released
	busy     bool                   // a goroutine does so
	wg       sync.WaitGroup
}

func newEngine() *engine { return &engine{} }

// Timeout implements wire.Engine.
func (e *engine) Timeout() time.Duration { return transaction.Timer_F }

// Invite implements wire.Engine: an INVITE that reaches the presence server is
// answered as any other request, and again when it comes again.
func (e *engine) Invite(string, wire.ServerParty) wire.Invite { return nil }

// Close implements wire.Engine.
func (e *engine) Close() { e.wg.Wait() }

// Client implements wire.Engine.
func (e *engine) Client(transport, method, branch string, p wire.ClientParty) wire.Client {
	c := &client{engine: e, party: p, reliable: transport != "udp"}
	via := sip.ViaHeader{{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: transport, Host: "localhost",
		Params: sip.NewParams().Add("branch", sip.String{Str: branch})}}
	cseq := &sip.CSeq{SeqNo: 1, MethodName: sip.RequestMethod(method)}
	if method == string(sip.INVITE) { // nothing here sends one; its state machine would want an ACK
		cseq.MethodName = sip.OPTIONS
	}
	origin := sip.NewRequest(sip.MessageID(branch), cseq.MethodName, &sip.SipUri{FHost: "localhost"}, "SIP/2.0",
		[]sip.Header{via, cseq}, "", nil)
	origin.SetTransport(transport)
	tx, err := transaction.NewClientTx(origin, c, silence{})
	if err == nil {
		err = tx.Init() // writes nothing, and so does not fail
	}
	c.tx = tx
	if err != nil {
		// The branch is one of RFC 3261, so this is a change in gosip.
		c.timer = time.AfterFunc(0, func() { p.End(err) })
		return c
	}
	// gosip tells of the end over channels, which would need a goroutine each.
	c.timer = time.AfterFunc(transaction.Timer_F, func() { p.End(sipx.ErrTimeout) })
	return c
}

// client is a client transaction, and the sip.Transport that gosip sends its
// request by.
type client struct {
	engine   *engine
	party    wire.ClientParty
	reliable bool
	tx       transaction.ClientTx
	timer    *time.Timer
}

// Messages implements sip.Transport.
func (c *client) Messages() <-chan sip.Message { return nil }

// Send implements sip.Transport.
func (c *client) Send(sip.Message) error { return c.party.Write() }

// IsReliable implements sip.Transport.
func (c *client) IsReliable(string) bool { return c.reliable }

// IsStreamed implements sip.Transport.
func (c *client) IsStreamed(string) bool { return c.reliable }

// Provisional implements wire.Client.
func (c *client) Provisional(status int, _ func(func()) bool) { c.receive(status) }

func (c *client) receive(status int) {
	res := sip.NewResponse("response", "SIP/2.0", sip.StatusCode(status), "", nil, "", nil)
	_ = c.tx.Receive(res) // an error where the transaction has just ended
}

// Terminate implements wire.Client. With its final response the state machine
// comes to rest, and only then it is safe to end the transaction. Without, it is
// left to its timer F: its party writes nothing any more.
func (c *client) Terminate(status int) {
	c.timer.Stop()
	if status < 200 || c.tx == nil {
		return
	}
	c.receive(status)
	if !c.reliable { // over a connection it ends by itself
		c.engine.release(c.tx)
	}
}

// release ends a transaction that is at rest, 32 seconds before it would do so
// itself. gosip sleeps in doing so, so that a goroutine takes that over from the
// one that reads the network.
func (e *engine) release(tx transaction.ClientTx) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finished = append(e.finished, tx)
	if e.busy {
		return
	}
	e.busy = true
	e.wg.Go(func() {
		for {
			e.mu.Lock()
			list := e.finished
			e.finished = nil
			e.busy = len(list) > 0
			e.mu.Unlock()
			if len(list) == 0 {
				return
			}
			for _, tx := range list {
				tx.Terminate()
			}
		}
	})
}
