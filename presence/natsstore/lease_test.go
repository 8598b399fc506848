package natsstore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/natsstore"
	"github.com/openblustar/blustar/sipx"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// standby is a node that waits for the lease.
type standby struct {
	*natsstore.Store
	leads chan error
}

func standBy(t *testing.T, cfg natsstore.Config) standby {
	t.Helper()
	s, err := natsstore.Open(t.Context(), cfg)
	require.NoError(t, err)
	n := standby{s, make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { n.leads <- s.Lead(ctx) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
		_ = s.Close(context.Background())
	})
	return n
}

func (n standby) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-n.leads:
		require.NoError(t, err)
		require.True(t, n.Leads())
	case <-time.After(time.Minute):
		require.Fail(t, "the stand-by does not take over")
	}
}

func lostSoon(t *testing.T, s *natsstore.Store) {
	t.Helper()
	select {
	case <-s.Lost():
		require.False(t, s.Leads())
	case <-time.After(time.Minute):
		require.Fail(t, "it still leads")
	}
}

func record(key, value string) presence.Write {
	return presence.Write{Kind: "k", Key: key, Value: []byte(value)}
}

// A stand-by takes over at once where the leader gives the lease back, with all records;
// until then it has no access (BSX-12).
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Node: "a", Lease: time.Minute})
	b := standBy(t, natsstore.Config{Conn: connect(t, s), Node: "b", Lease: time.Minute})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	_, err = b.Apply(t.Context(), []presence.Write{record("one", "2")})
	require.ErrorIs(t, err, natsstore.ErrNotLeading)
	require.ErrorIs(t, b.Load(t.Context(), nil), natsstore.ErrNotLeading)

	require.NoError(t, a.Close(t.Context()))
	lostSoon(t, a)
	b.wait(t)
	var got []string
	require.NoError(t, b.Load(t.Context(), func(r presence.Record) error {
		got = append(got, r.Key+"="+string(r.Value))
		return nil
	}))
	require.Equal(t, []string{"one=1"}, got)
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "3")})
	require.ErrorIs(t, err, natsstore.ErrNotLeading)
}

// A leader that is cut off from NATS has stopped before another takes over: never do two
// lead (BSX-12).
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	nc := connect(t, s)
	a := open(t, natsstore.Config{Conn: nc, Node: "a", Lease: natsstore.MinLease})
	b := standBy(t, natsstore.Config{Conn: connect(t, s), Node: "b", Lease: natsstore.MinLease})
	both, done := 0, make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if b.Leads() && a.Leads() { // in this order: a does not come back
					both++
				}
			}
		}
	})
	nc.Close()
	b.wait(t)
	close(done)
	watch.Wait()
	require.Zero(t, both)
	lostSoon(t, a)
}

// A process that was stopped, and believes when it wakes that it leads, writes nothing:
// the epoch is another one. It learns so by that.
func TestPausedLeaderWritesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Node: "a", Lease: 10 * time.Second})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	natsstore.Pause(a)
	b := standBy(t, natsstore.Config{Conn: connect(t, s), Node: "b", Lease: 10 * time.Second})
	b.wait(t)
	require.True(t, a.Leads(), "so it believes")
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "from the past"), record("two", "x")})
	require.ErrorIs(t, err, natsstore.ErrNotLeading)
	lostSoon(t, a)
	n := 0
	require.NoError(t, b.Load(t.Context(), func(r presence.Record) error {
		n++
		require.Equal(t, "1", string(r.Value))
		return nil
	}))
	require.Equal(t, 1, n)
}

// Nothing leaves a node that leads no more, and nothing is granted.
func TestGuard(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s)})
	out, in := &peer{}, &peer{}
	send, serve := a.Sender(out), a.Handler(in)
	require.Implements(t, (*sipx.FlowObserver)(nil), serve)
	require.NotImplements(t, (*sipx.FlowObserver)(nil), a.Handler(sipx.HandlerFunc(nil)))
	send.Send(&sipx.Request{}, out)
	serve.ServeSIP(t.Context(), in, &sipx.Request{})
	require.Equal(t, []int{200}, in.answers)
	require.Equal(t, 1, out.sent)
	require.NoError(t, out.err)
	late := in.w

	require.NoError(t, a.Close(t.Context()))
	send.Send(&sipx.Request{}, out)
	require.Equal(t, 1, out.sent)
	require.ErrorIs(t, out.err, natsstore.ErrNotLeading)
	serve.ServeSIP(t.Context(), in, &sipx.Request{})
	require.NoError(t, late.Respond(sipx.NewResponse(200)), "of a request that came before")
	require.Equal(t, []int{200, 503, 503}, in.answers)
}

// peer is both ends of a stack.
type peer struct {
	sent    int
	err     error
	answers []int
	w       sipx.ResponseWriter
}

func (p *peer) Send(req *sipx.Request, done sipx.ResponseHandler) {
	p.sent++
	done.HandleResponse(req, sipx.NewResponse(200), nil)
}
func (p *peer) Contact(sipx.Flow) string                                    { return "" }
func (p *peer) HandleResponse(_ *sipx.Request, _ *sipx.Response, err error) { p.err = err }
func (p *peer) FlowClosed(sipx.Flow)                                        {}
func (p *peer) Respond(res *sipx.Response) error {
	p.answers = append(p.answers, res.Status)
	return nil
}
func (p *peer) ServeSIP(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
	p.w = w
	_ = w.Respond(sipx.NewResponse(200))
}

// Two nodes with one name are two nodes.
func TestOneName(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Node: "same", Lease: 5 * time.Second})
	b := standBy(t, natsstore.Config{Conn: connect(t, s), Node: "same", Lease: 5 * time.Second})
	select {
	case <-b.leads:
		require.Fail(t, "two nodes lead")
	case <-a.Lost():
		require.Fail(t, "nobody leads")
	case <-time.After(7 * time.Second):
	}
	require.True(t, a.Leads())
}

// What is wrong is named, all of it; a stream of others is left alone.
func TestBadInput(t *testing.T) {
	t.Parallel()
	_, err := natsstore.Open(t.Context(), natsstore.Config{Bucket: "a.b", Replicas: 7, Lease: time.Millisecond})
	for _, part := range []string{"Conn", `"a.b"`, "Replicas 7", "Lease 1ms"} {
		require.ErrorContains(t, err, part)
	}
	s := start(t)
	nc := connect(t, s)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for name, cfg := range map[string]jetstream.StreamConfig{
		"foreign": {Name: "foreign", Subjects: []string{"foreign.>"}},
		"newer": {Name: "newer", Subjects: []string{"newer.>"}, MaxMsgsPerSubject: 1, AllowMsgTTL: true, AllowAtomicPublish: true,
			Metadata: map[string]string{"blustar-format": "2"}},
	} {
		_, err := js.CreateStream(t.Context(), cfg)
		require.NoError(t, err)
		_, err = natsstore.Open(t.Context(), natsstore.Config{Conn: nc, Bucket: name})
		require.ErrorIs(t, err, natsstore.ErrVersion)
		require.ErrorContains(t, err, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := natsstore.Open(t.Context(), natsstore.Config{Conn: nc})
	require.NoError(t, err)
	require.ErrorIs(t, b.Lead(ctx), context.Canceled)
	require.NoError(t, b.Close(t.Context()), "it has never led")
	lostSoon(t, b)
	require.ErrorIs(t, b.Lead(t.Context()), natsstore.ErrNotLeading, "nor will it")
}

// A NATS that is away for less than the lease costs nothing but waiting.
func TestNATSComesBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Lease: 30 * time.Second})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	restart(t, s)
	require.Eventually(t, func() bool {
		_, err := a.Apply(t.Context(), []presence.Write{record("two", "2")})
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	require.True(t, a.Leads())
	n := 0
	require.NoError(t, a.Load(t.Context(), func(presence.Record) error { n++; return nil }))
	require.Equal(t, 2, n)
}
