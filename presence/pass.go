package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// passedOn is what one node tells another of a request that it passes on: a line of JSON before the
// request.
type passedOn struct {
	Flow sipx.Flow `json:"flow"`
	// Of who was let in. The first two may be any bytes.
	Account []byte `json:"account,omitempty"`
	ID      []byte `json:"id,omitempty"`
	DN      string `json:"dn,omitempty"`
	AMCC    bool   `json:"amcc,omitempty"`
}

// passTimeout is how long another node may take for an answer.
const passTimeout = 5 * time.Second

// passTo has another node answer a request.
func (s *Server) passTo(ctx context.Context, x *exchange, id auth.Identity, node string) error {
	away := &refused{comingBack("what this is about is at another node")}
	if x.passed != nil || node == s.cluster.node { // it moves between nodes just now
		return away
	}
	req := *x.req
	req.Body, req.Header = x.sent, nil
	for _, f := range x.req.Header {
		switch f.Name {
		case "Content-Length", auth.HeaderRauth, "Authorization", "Proxy-Authorization": // it was let in here
		default:
			req.Header = append(req.Header, f)
		}
	}
	head, err := json.Marshal(passedOn{x.req.Flow, []byte(id.Account), []byte(id.ID), id.DN, id.AMCC})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	defer s.cluster.passing(node, cancel)()
	data, err := s.cluster.store.Call(ctx, node, req.AppendTo(append(head, '\n'), ""))
	var res *sipx.Response
	if err == nil {
		res, err = sipx.ParseResponse(data)
	}
	if errors.Is(err, ErrNoNode) {
		return sipx.Errorf(481, "")
	}
	if err != nil {
		s.cfg.Logger.Warn("another node does not answer", "node", node, "method", req.Method, "call_id", req.CallID, "error", err)
		return away
	}
	if req.To.Tag() != "" {
		res.ToTag = ""
	}
	var header sipx.Header
	for _, f := range res.Header {
		switch f.Name {
		case "Via", "From", "To", "Call-ID", "CSeq", "Content-Length": // the stack's
		default:
			header = append(header, f)
		}
	}
	res.Header = header
	x.answer(res)
	return nil
}

// passing has a call end when its node turns out to be dead.
func (c *cluster) passing(node string, cancel context.CancelFunc) (done func()) {
	p := &pass{node, cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passes[p] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.passes, p)
	}
}

// pass is a call under way.
type pass struct {
	node   string
	cancel context.CancelFunc
}

// answer answers a request that another node passes on, or the question of its guard.
func (c *cluster) answer(ctx context.Context, message []byte) (answer []byte) {
	head, rest, _ := bytes.Cut(message, []byte{'\n'})
	if guard, ok := c.server.cfg.Guard.(sharingGuard); ok && string(head) == guardCall {
		return guard.Answer(rest)
	}
	var p passedOn
	req, err := sipx.ParseRequest(rest)
	if err == nil {
		err = json.Unmarshal(head, &p)
	}
	if err != nil {
		c.server.cfg.Logger.Error("what another node passes on cannot be read", "error", err)
		return nil
	}
	if req.Flow = p.Flow; !req.Flow.Reliable() {
		req.Flow.Local = netip.AddrPort{} // which is the other machine's
	}
	w := &reply{req: req}
	defer func() {
		if p := recover(); p != nil { // as the stack does for other requests
			c.server.cfg.Logger.Error("handler panicked", "method", req.Method, "panic", p, "stack", string(debug.Stack()))
			answer = nil
		}
	}()
	c.server.handle(ctx, &exchange{server: c.server, w: w, req: req, sent: req.Body, began: time.Now(),
		passed: &auth.Identity{Account: string(p.Account), ID: string(p.ID), DN: p.DN, AMCC: p.AMCC}})
	return w.data
}

// reply is the [sipx.ResponseWriter] of a request that was passed on.
type reply struct {
	req  *sipx.Request
	data []byte
}

// Respond implements [sipx.ResponseWriter].
func (w *reply) Respond(res *sipx.Response) error {
	if r := *res; r.ToTag == "" {
		r.ToTag = "none" // the node that has it makes one
		res = &r
	}
	w.data = res.AppendTo(nil, w.req)
	return nil
}

// elsewhere returns the other node that has a dialog, as its tag tells; "" for none.
func (c *cluster) elsewhere(req *sipx.Request) string {
	if c == nil || req.Flow.Reliable() { // with its connection a dialog has ended
		return ""
	}
	node := subscription.NodeOf(req.To.Tag())
	if !isNode(node) || strings.EqualFold(node, c.node) {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if node = c.holderLocked(node); node == c.node && c.taking == 0 {
		return "" // it has ended
	}
	return node
}

// isNode reports whether a text from the network may be a [Shared.Node].
func isNode(text string) bool {
	for _, c := range []byte(text) {
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z') {
			return false
		}
	}
	return 0 < len(text) && len(text) <= 32
}
