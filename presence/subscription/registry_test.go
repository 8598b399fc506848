package subscription_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lamp is a resource: on or off.
type lamp struct {
	mu      sync.Mutex
	version uint64
	watches []*subscription.Watch
}

type lampState uint64

func (s lampState) Version(subscription.View) uint64 { return uint64(s) }
func (s lampState) Body(room []byte, w subscription.Showing) ([]byte, bool) {
	return fmt.Appendf(room, "%s %d", w.Entity, s), true
}

func (l *lamp) Current() subscription.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lampState(l.version)
}

func (l *lamp) Joined(w *subscription.Watch, _ subscription.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.Place = int32(len(l.watches))
	l.watches = append(l.watches, w)
}

func (l *lamp) Left(w *subscription.Watch, _ subscription.View) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.watches) - 1
	l.watches[w.Place] = l.watches[last]
	l.watches[w.Place].Place = w.Place
	l.watches = l.watches[:last]
}

func (l *lamp) toggle() {
	l.mu.Lock()
	l.version++
	due := append([]*subscription.Watch(nil), l.watches...)
	l.mu.Unlock()
	subscription.Notify(due)
}

// network is a sender that keeps what is sent until it is answered.
type network struct {
	mu   sync.Mutex
	sent []call
}

type call struct {
	*sipx.Request
	done sipx.ResponseHandler
}

func (n *network) Contact(sipx.Flow) string { return "<sip:192.0.2.1>" }
func (n *network) Send(req *sipx.Request, done sipx.ResponseHandler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := *req // it is looked at after its outcome
	kept.Header = slices.Clone(req.Header)
	kept.Body = slices.Clone(req.Body)
	n.sent = append(n.sent, call{&kept, done})
}

func (n *network) take() []call {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	sent := n.sent
	n.sent = nil
	return sent
}

func (c call) answer(status int) { c.done.HandleResponse(c.Request, sipx.NewResponse(status), nil) }
func (c call) fail(err error)    { c.done.HandleResponse(c.Request, nil, err) }

var lamps = &subscription.Package{Name: "lamp", MediaType: "text/plain"}

func request(n int, flow sipx.Flow, fields string) *sipx.Request {
	req := sipxtest.NewRequest(fmt.Sprintf("SUBSCRIBE sip:lamp@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%d\n"+
		"From: <sip:ann@example.com>;tag=a\nTo: <sip:lamp@example.com>\nCall-ID: c%d\nCSeq: 1 SUBSCRIBE\nContact: <sip:ann@192.0.2.7:5060>\nEvent: lamp\n%s\n\n", n, n, fields))
	req.Flow = flow
	return req
}

func flow(transport, addr string, conn uint64) sipx.Flow {
	return sipx.Flow{Transport: transport, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort(addr), Conn: conn}
}

type world struct {
	*testing.T
	*subscription.Registry
	net   *network
	n     int
	ended []subscription.Ending
}

func newWorld(t *testing.T, cfg subscription.Config) *world {
	w := &world{T: t, net: &network{}}
	cfg.Sender = w.net
	cfg.Events.Ended = func(e subscription.Ending) {
		w.ended = append(w.ended, e)
		e.Dialog.Farewell()
	}
	var err error
	w.Registry, err = subscription.New(cfg)
	require.NoError(t, err)
	return w
}

// open subscribes to lamps; account and expires as Opening has them.
func (w *world) open(f sipx.Flow, account string, expires time.Duration, of ...*lamp) (*subscription.Dialog, error) {
	w.n++
	req := request(w.n, f, "")
	o := subscription.Opening{Request: req, Contact: sipx.URI{Scheme: "sip", User: "ann", Host: "192.0.2.7"}, Package: lamps,
		Expires: expires, From: req.To.URI, Account: account, List: len(of) > 1}
	for i, l := range of {
		o.Items = append(o.Items, subscription.Item{Entity: fmt.Sprintf("sip:%d@example.com", i), Resource: l})
	}
	d, err := w.Open(o)
	if err == nil {
		d.Start()
	}
	return d, err
}

func (w *world) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.Shutdown(ctx, subscription.ReasonDeactivated)
}

var anns = flow("udp", "192.0.2.7:5060", 0)

// BSX-8: no account and no source has more than its part, and what ends gives it back,
// a fetch not before its last NOTIFY has an outcome.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, subscription.Config{MaxWatches: 10, AccountShare: 3, SourceShare: 5,
			SharedSources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
		l := &lamp{}
		var opened []*subscription.Dialog
		for range 3 {
			d, err := w.open(anns, `DE\ann`, time.Minute, l)
			require.NoError(t, err)
			opened = append(opened, d)
		}
		_, err := w.open(anns, `de\ANN`, time.Minute, l)
		require.ErrorIs(t, err, subscription.ErrShare, "the account, in any case")
		_, err = w.open(anns, "bob", time.Minute, l, l, l)
		require.ErrorIs(t, err, subscription.ErrFull, "the source")
		_, err = w.open(anns, "bob", 0, l, l)
		require.NoError(t, err)
		_, err = w.open(anns, "", 0, l)
		require.ErrorIs(t, err, subscription.ErrFull, "a fetch counts until it is over")
		for fetched := w.net.take(); len(fetched) > 0; fetched = w.net.take() {
			for _, c := range fetched {
				c.answer(200)
			}
		}
		require.Equal(t, 3, w.Stats().Watches)
		require.True(t, opened[0].Drop())
		require.False(t, opened[0].Drop())
		_, err = w.open(anns, `DE\ann`, time.Minute, l)
		require.NoError(t, err)
		for i := range 7 { // an SBC, which is many, until all is taken
			_, err = w.open(flow("udp", "198.51.100.9:5060", 0), fmt.Sprint("user", i), time.Minute, l)
			require.NoError(t, err)
		}
		_, err = w.open(flow("udp", "203.0.113.1:5060", 0), "", time.Minute, l)
		require.ErrorIs(t, err, subscription.ErrFull)
		w.shutdown()
	})
}

// BSX-8: the addresses of one IPv6 network are one source.
func TestSourceOf(t *testing.T) {
	require.Equal(t, subscription.SourceOf(flow("udp", "[2001:db8::1]:5060", 0)), subscription.SourceOf(flow("tcp", "[2001:db8::2:3]:1", 9)))
	require.NotEqual(t, subscription.SourceOf(flow("udp", "[2001:db8::1]:5060", 0)), subscription.SourceOf(flow("udp", "[2001:db8:0:1::1]:5060", 0)))
	require.Equal(t, "192.0.2.7/32", subscription.SourceOf(flow("udp", "[::ffff:192.0.2.7]:5060", 0)).String())
}

// BSX-9: a refresh of a list is shown at once, another that follows on its heels after
// the pause, and those between with it.
func TestFullListsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, subscription.Config{Window: 10})
		d, err := w.open(anns, "", 5*time.Minute, &lamp{}, &lamp{}, &lamp{})
		require.NoError(t, err)
		count := func() (n int) {
			for sent := w.net.take(); len(sent) > 0; sent = w.net.take() {
				for _, c := range sent {
					c.answer(200)
					n++
				}
			}
			return n
		}
		require.Equal(t, 3, count())
		d.ShowAll()
		require.Equal(t, 3, count())
		for range 10 {
			d.ShowAll()
		}
		require.Zero(t, count())
		time.Sleep(5 * time.Second)
		require.Equal(t, 3, count(), "all of them are one")
		w.shutdown()
	})
}

// RFC 6665 §4.2.2, BSX-7: what ends a dialog is carried out by a goroutine of its own: the
// one that brings the outcome goes on, whatever the host does at an end.
func TestEndsDoNotHoldUpTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &network{}
		free := make(chan struct{})
		r, err := subscription.New(subscription.Config{Sender: net, Events: subscription.Events{Ended: func(subscription.Ending) { <-free }}})
		require.NoError(t, err)
		w := &world{T: t, Registry: r, net: net}
		l := &lamp{}
		for range 3 {
			_, err := w.open(anns, "", time.Minute, l)
			require.NoError(t, err)
		}
		for _, c := range net.take() {
			c.answer(481) // returns
		}
		synctest.Wait()
		d, err := w.open(anns, "", time.Minute, l)
		require.NoError(t, err)
		require.Len(t, net.take(), 1)
		require.True(t, d.Active())
		close(free)
		synctest.Wait()
		require.Equal(t, 1, w.Stats().Dialogs)
		w.shutdown()
	})
}

// BSP-2.3-1: the dialogs of a connection end with it, but not one that has come back over
// another; an expired one is told.
func TestFlowsAndExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, subscription.Config{})
		l := &lamp{}
		lost, err := w.open(flow("tcp", "192.0.2.7:1", 7), "", time.Minute, l)
		require.NoError(t, err)
		back, err := w.open(flow("tcp", "192.0.2.7:1", 7), "", time.Minute, l)
		require.NoError(t, err)
		for _, c := range w.net.take() {
			c.answer(200)
		}
		again := request(2, flow("tcp", "192.0.2.7:2", 8), "")
		again.CSeq = 2
		require.NoError(t, back.Refresh(again, sipx.URI{Scheme: "sip", Host: "192.0.2.7"}, time.Minute))
		w.FlowClosed(flow("tcp", "192.0.2.7:1", 7))
		synctest.Wait()
		require.Equal(t, []subscription.Ending{{Dialog: lost, Cause: subscription.FlowGone}}, w.ended)
		require.Empty(t, w.net.take())
		require.ErrorContains(t, back.Refresh(again, sipx.URI{}, time.Minute), "500")
		time.Sleep(61 * time.Second)
		sent := w.net.take()
		require.Len(t, sent, 1)
		require.Equal(t, "terminated;reason=timeout", sent[0].Header.Get("Subscription-State"))
		require.Equal(t, "sip:0@example.com 0", string(sent[0].Body))
		require.Len(t, w.ended, 2)
		require.True(t, w.HasEnded(&sipx.Request{To: sipx.Address{Params: ";tag=" + back.Tag()}}))
		sent[0].fail(sipx.ErrTimeout)
		require.Empty(t, l.watches)
		w.shutdown()
	})
}

// BSX-3: a watcher ends with the newest state, whatever was refused or lost in between.
func TestNewestStateWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, subscription.Config{})
		l := &lamp{}
		_, err := w.open(anns, "", time.Hour, l)
		require.NoError(t, err)
		first := w.net.take()
		l.toggle()
		l.toggle()
		require.Empty(t, w.net.take(), "one at a time")
		first[0].answer(503)
		require.Empty(t, w.net.take(), "not now")
		time.Sleep(3 * time.Second)
		next := w.net.take()
		require.Len(t, next, 1)
		require.Equal(t, "sip:0@example.com 2", string(next[0].Body))
		require.Equal(t, first[0].CSeq+1, next[0].CSeq)
		next[0].answer(200)
		require.Empty(t, w.net.take())
		w.shutdown()
	})
}
