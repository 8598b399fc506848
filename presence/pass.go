package presence

import (
	"context"
	"encoding/json"
	"errors"
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
func (s *Server) passTo(ctx context.Context, x *exchange, node string) error {
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
	head, err := json.Marshal(passedOn{x.req.Flow, []byte(x.id.Account), []byte(x.id.ID), x.id.DN, x.id.AMCC})
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
