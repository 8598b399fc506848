package presence

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// All dialogs end while a batch is written whose turns they were to be in: the batch goes on
// without them (BSX-11).
func TestBundlesOfEndedDialogs(t *testing.T) {
	registry, err := subscription.New(subscription.Config{Sender: nobody{}})
	require.NoError(t, err)
	defer func() { require.NoError(t, registry.Shutdown(t.Context(), subscription.ReasonDeactivated)) }()
	bs := bundles{all: make(map[uint64]*bundle), dead: 2 * spareTurns}
	var ended []*subscription.Dialog
	for i := range uint64(10) {
		req := sipxtest.NewRequest(fmt.Sprintf("SUBSCRIBE sip:ann@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\n"+
			"From: <sip:ann@example.com>;tag=1\nTo: <sip:ann@example.com>\nCall-ID: %d\nCSeq: 1 SUBSCRIBE\n"+
			"Contact: <sip:ann@192.0.2.7>\nEvent: presence", i))
		d, err := registry.Open(subscription.Opening{
			Request: req, Contact: sipx.URI{Scheme: "sip", User: "ann", Host: "192.0.2.7"}, Package: &subscription.Package{Name: "presence"},
			Expires: time.Hour, From: req.To.URI, Items: []subscription.Item{{Entity: "sip:ann@example.com", Resource: blank{}}},
		})
		require.NoError(t, err)
		d.Place = i + 1
		bs.all[d.Place], bs.order = &bundle{turns: []*subscription.Dialog{d}, live: 1}, append(bs.order, d.Place)
		bs.live++
		require.True(t, d.Close(subscription.ReasonDeactivated))
		ended = append(ended, d)
	}
	require.Empty(t, bs.write(nil, ended, 1, new(sheet)))
	for _, d := range ended {
		bs.drop(d)
	}
	require.Zero(t, bs.live)
	require.Len(t, bs.deletions(nil), len(ended))
}

// nobody is a sender that all can be told by.
type nobody struct{}

func (nobody) Contact(sipx.Flow) string { return "<sip:192.0.2.1>" }
func (nobody) Send(req *sipx.Request, done sipx.ResponseHandler) {
	done.HandleResponse(req, sipx.NewResponse(200), nil)
}

// blank is a resource that shows nothing.
type blank struct{}

func (blank) Current() subscription.State                      { return blank{} }
func (blank) Joined(*subscription.Watch, subscription.View)    {}
func (blank) Left(*subscription.Watch, subscription.View)      {}
func (blank) Version(subscription.View) uint64                 { return 0 }
func (blank) Body([]byte, subscription.Showing) ([]byte, bool) { return nil, false }
