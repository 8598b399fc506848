package natsstore_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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

// heir returns the node that takes the place of another, once it does, as a third sees it.
func heir(t *testing.T, s *natsstore.Store, of string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := ""
	_ = s.Watch(ctx, 0, []string{presence.KindHeir}, func(r presence.Record) {
		if r.Key == of {
			found = string(r.Value)
			cancel()
		}
	})
	require.NotEmpty(t, found, "nobody takes its place")
	return found
}

func lostSoon(t *testing.T, s *natsstore.Store) {
	t.Helper()
	select {
	case <-s.Lost():
		require.False(t, s.Alive())
	case <-time.After(time.Minute):
		require.Fail(t, "it still has its lease")
	}
}

func record(key, value string) presence.Write {
	return presence.Write{Kind: "k", Key: key, Value: []byte(value)}
}

// Of a node that gives its lease back another takes the place at once; until it has joined
// it has no access (BSX-12).
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Node: "a", Lease: natsstore.MaxLease})
	b, err := natsstore.Open(t.Context(), natsstore.Config{Conn: connect(t, s), Node: "b", Lease: natsstore.MaxLease})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	_, err = b.Apply(t.Context(), []presence.Write{record("one", "2")})
	require.ErrorIs(t, err, natsstore.ErrNotAlive)
	require.ErrorIs(t, b.Load(t.Context(), nil), natsstore.ErrNotAlive)

	require.NoError(t, b.Join(t.Context()))
	require.NoError(t, a.Close(t.Context()))
	lostSoon(t, a)
	require.Equal(t, b.Node(), heir(t, b, a.Node()))
	var got []string
	require.NoError(t, b.Load(t.Context(), func(r presence.Record) error {
		if r.Kind == "k" {
			require.Equal(t, a.Node(), r.Node)
			got = append(got, r.Key+"="+string(r.Value))
		}
		return nil
	}))
	require.Equal(t, []string{"one=1"}, got)
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "3")})
	require.ErrorIs(t, err, natsstore.ErrNotAlive)
	require.True(t, b.Alive())
}

// A node that is cut off from NATS has stopped before another takes its place, and learns
// so when it is back (BSX-12).
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	var l line
	a := open(t, natsstore.Config{Conn: connect(t, s, nats.SetCustomDialer(&l)), Node: "a", Lease: natsstore.MinLease})
	b := open(t, natsstore.Config{Conn: connect(t, s), Node: "b", Lease: natsstore.MinLease})
	l.cut(true)
	heir(t, b, a.Node())
	require.False(t, a.Alive(), "two speak for one")
	select {
	case <-a.Lost():
		require.Fail(t, "it cannot know")
	default:
	}
	l.cut(false)
	lostSoon(t, a)
}

// line is the way of a node to NATS.
type line struct {
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

// Dial implements [nats.CustomDialer].
func (l *line) Dial(network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		return nil, errors.New("cut")
	}
	conn, err := net.Dial(network, address)
	if err == nil {
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *line) cut(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.isCut, l.conns = is, nil
}

// A node whose lease is over, and whose place nobody has taken, says and writes nothing
// until it has renewed it. Then it goes on, and knows that it may have missed something
// (BSX-12).
func TestLapse(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Lease: natsstore.MaxLease / 2})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	watching, watched := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		watched <- a.Watch(t.Context(), 0, []string{"k"}, func(presence.Record) { watching <- struct{}{} })
	}()
	<-watching
	before := time.Now()
	require.True(t, a.AliveSince(before))
	natsstore.Lapse(a)
	require.False(t, a.Alive())
	require.False(t, a.AliveSince(before))
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "2")})
	require.ErrorIs(t, err, natsstore.ErrNotAlive)
	require.ErrorIs(t, a.Load(t.Context(), nil), natsstore.ErrNotAlive)

	require.Eventually(t, a.Alive, time.Minute, 10*time.Millisecond)
	require.False(t, a.AliveSince(before), "it was silent since")
	require.True(t, a.AliveSince(time.Now()))
	require.ErrorContains(t, <-watched, "without its lease")
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "3")})
	require.NoError(t, err)
	select {
	case <-a.Lost():
		require.Fail(t, "nobody has taken its place")
	default:
	}
}

// A process that was stopped, and believes when it wakes that it has its lease, writes
// nothing: another has begun a new epoch for it. It learns so by that.
func TestPausedNodeWritesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s), Node: "a", Lease: 10 * time.Second})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	natsstore.Pause(a)
	b := open(t, natsstore.Config{Conn: connect(t, s), Node: "b", Lease: 10 * time.Second})
	heir(t, b, a.Node())
	require.True(t, a.Alive(), "so it believes")
	_, err = a.Apply(t.Context(), []presence.Write{record("one", "from the past"), record("two", "x")})
	require.ErrorIs(t, err, natsstore.ErrNotAlive)
	lostSoon(t, a)
	n := 0
	require.NoError(t, b.Load(t.Context(), func(r presence.Record) error {
		if r.Kind == "k" {
			n++
			require.Equal(t, "1", string(r.Value))
		}
		return nil
	}))
	require.Equal(t, 1, n)
}

// Of several one takes the place, and the others learn who; two nodes with one name are
// two nodes (BSX-12).
func TestOneHeir(t *testing.T) {
	t.Parallel()
	s := start(t)
	var nodes []*natsstore.Store
	for range 4 {
		nodes = append(nodes, open(t, natsstore.Config{Conn: connect(t, s), Node: "same", Lease: natsstore.MaxLease}))
	}
	dead := nodes[0]
	require.NoError(t, dead.Close(t.Context()))
	first := heir(t, nodes[1], dead.Node())
	require.Equal(t, first, heir(t, nodes[2], dead.Node()))
	require.Equal(t, first, heir(t, nodes[3], dead.Node()))
	n := 0
	for _, node := range nodes[1:] {
		require.True(t, node.Alive())
		if node.Node() == first {
			n++
		}
	}
	require.Equal(t, 1, n)
}

// Nodes see what others write in the order of revisions, deletions too (BSX-12).
func TestWatch(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s)})
	b := open(t, natsstore.Config{Conn: connect(t, s)})
	before, err := a.Apply(t.Context(), []presence.Write{record("zero", "0")})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan presence.Record, 16)
	done := make(chan error, 1)
	go func() {
		done <- b.Watch(ctx, before[0], []string{"k", "l"}, func(r presence.Record) { got <- r })
	}()
	revisions, err := a.Apply(t.Context(), []presence.Write{
		record("one", "1"), {Kind: "other", Key: "x", Value: []byte("y")}, {Kind: "l", Key: "two", Value: []byte("2"), Expires: time.Now().Add(time.Hour)},
	})
	require.NoError(t, err)
	next := func(want presence.Record) {
		r := <-got
		r.Expires = time.Time{}
		require.Equal(t, want, r)
	}
	next(presence.Record{Kind: "k", Key: "one", Value: []byte("1"), Revision: revisions[0], Node: a.Node()})
	next(presence.Record{Kind: "l", Key: "two", Value: []byte("2"), Revision: revisions[2], Node: a.Node()})
	deleted, err := b.Apply(t.Context(), []presence.Write{{Kind: "k", Key: "one"}})
	require.NoError(t, err)
	next(presence.Record{Kind: "k", Key: "one", Revision: deleted[0], Node: b.Node()})
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

// Nodes answer each other while they are there.
func TestCall(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s)})
	b := open(t, natsstore.Config{Conn: connect(t, s)})
	b.Answer(func(_ context.Context, m []byte) []byte { return append(m, '!') })
	answer, err := a.Call(t.Context(), b.Node(), []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello!", string(answer))
	_, err = a.Call(t.Context(), "nobody", nil)
	require.Error(t, err)
	require.NoError(t, b.Close(t.Context()))
	_, err = a.Call(t.Context(), b.Node(), nil)
	require.Error(t, err)
}

// Nothing leaves a node without a lease, and nothing is granted.
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
	require.ErrorIs(t, out.err, natsstore.ErrNotAlive)
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
	require.ErrorIs(t, b.Join(ctx), context.Canceled)
	require.NoError(t, b.Close(t.Context()), "it has never joined")
	lostSoon(t, b)
	require.ErrorIs(t, b.Join(t.Context()), natsstore.ErrNotAlive, "nor will it")
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
	require.True(t, a.Alive())
	n := 0
	require.NoError(t, a.Load(t.Context(), func(presence.Record) error { n++; return nil }))
	require.Equal(t, 2, n)
}
