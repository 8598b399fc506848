package dialoginfo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

const (
	eventPackage = "dialog"

	// refusedPause is for how long credentials rest that the PBX refused.
	refusedPause = time.Minute
	// restPause is for how long a device rests that the PBX has refused for good.
	restPause = 15 * time.Minute
	// doubtPause is the least time between two doubts of all subscriptions.
	doubtPause = time.Minute
	// A doubt makes 100 devices a second refresh.
	doubtEach = 10 * time.Millisecond
	maxDoubt  = time.Minute
)

// Monitor watches the devices of one PBX. It is safe for concurrent use, has no
// goroutines of its own, and needs no closing: it ends with the calls of
// MonitorLine.
type Monitor struct {
	cfg      Config
	underWay chan struct{} // one token for each SUBSCRIBE that waits for its response

	routes    subscriber.Routes
	mu        sync.Mutex // guards what follows
	devices   int
	refusedAt time.Time
	doubted   time.Time
	rests     map[string]time.Time // until when, by device
}

var (
	_ presence.LineMonitor = (*Monitor)(nil)
	_ sipx.Handler         = (*Monitor)(nil)
	_ sipx.FlowObserver    = (*Monitor)(nil)
)

// New checks cfg and makes a Monitor. It sends nothing yet.
func New(cfg Config) (*Monitor, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Monitor{
		cfg:      cfg,
		underWay: make(chan struct{}, cfg.MaxUnderWay),
		rests:    make(map[string]time.Time),
	}, nil
}

// MonitorLine implements [presence.LineMonitor]: it subscribes to the device and
// calls update, from its own goroutine, with each state that the PBX tells of,
// and again with the same one where its lifetime was prolonged. With an unknown
// state it is called where the PBX ends the subscription for good, makes us
// wait, or sends what cannot be read.
//
// Where the PBX has refused the device for good, which is an [EndedError] with
// rejected, noresource or invariant, or [ErrNoDialogPackage], calls of the next 15
// minutes wait for their end before they subscribe (RFC 6665 §4.1.3).
//
// It returns nil when ctx has ended. The subscription at the PBX is ended then,
// but that is not waited for: a shutdown of the stack does.
//
// Errors: those of Config.Target, [ErrTooMany], [ErrNoNotify], a [*StatusError],
// an [*EndedError], or what the Sender reported.
func (m *Monitor) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	target, err := m.cfg.Target(dn)
	if err != nil {
		return err
	}
	if !isSIP(target) {
		return fmt.Errorf("dialoginfo: the target of device %q is no sip or sips URI with a host", dn)
	}
	m.mu.Lock()
	if m.devices >= m.cfg.MaxDevices {
		m.mu.Unlock()
		return ErrTooMany
	}
	m.devices++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.devices--
		m.mu.Unlock()
	}()
	if !m.rest(ctx, dn) {
		return nil
	}
	d := m.newDevice(dn, target, update)
	err = d.Run(ctx)
	d.Farewell()
	if ended, ok := errors.AsType[*EndedError](err); ok && subscriber.Final(ended.Reason) || errors.Is(err, ErrNoDialogPackage) {
		m.refusedForGood(dn)
	}
	return err
}

// refusedForGood has the device rest.
func (m *Monitor) refusedForGood(dn string) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rests) >= m.cfg.MaxDevices { // some were never asked for again
		maps.DeleteFunc(m.rests, func(_ string, until time.Time) bool { return !until.After(now) })
	}
	if len(m.rests) < m.cfg.MaxDevices {
		m.rests[dn] = now.Add(restPause)
	}
}

// rest waits while the device rests, and reports whether ctx lasted.
func (m *Monitor) rest(ctx context.Context, dn string) bool {
	m.mu.Lock()
	until := m.rests[dn]
	m.mu.Unlock()
	return backoff.Sleep(ctx, time.Until(until)) == nil
}

// ServeSIP implements [sipx.Handler] for a Monitor that is alone on its stack: a
// NOTIFY that belongs to no subscription is answered 481 (RFC 6665 §4.1.3), what
// is no NOTIFY 405.
func (m *Monitor) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	switch {
	case req.Method != "NOTIFY":
		m.respond(w, sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: "NOTIFY"}))
	case !m.routes.Serve(ctx, w, req):
		m.respond(w, sipx.NewResponse(481))
	}
}

// Handler returns a handler that takes the NOTIFYs of the Monitor's
// subscriptions and passes everything else on to next, such as a presence
// server on the same stack. It is a [sipx.FlowObserver], for next too where that
// is one.
func (m *Monitor) Handler(next sipx.Handler) sipx.Handler { return &mux{m, next} }

type mux struct {
	monitor *Monitor
	next    sipx.Handler
}

func (x *mux) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	if req.Method != "NOTIFY" || !x.monitor.routes.Serve(ctx, w, req) {
		x.next.ServeSIP(ctx, w, req)
	}
}

func (x *mux) FlowClosed(f sipx.Flow) {
	x.monitor.FlowClosed(f)
	if o, ok := x.next.(sipx.FlowObserver); ok {
		o.FlowClosed(f)
	}
}

// FlowClosed implements [sipx.FlowObserver]: devices whose NOTIFYs came over the
// connection ask the PBX soon whether it still knows them.
func (m *Monitor) FlowClosed(f sipx.Flow) {
	m.doubt(func(s *subscriber.Subscription) bool { return s.Uses(f) })
}

// forgotten is told that the PBX has forgotten a subscription that had lasted. It
// may have been restarted, so the others are in doubt.
func (m *Monitor) forgotten(one *subscriber.Subscription) {
	now := time.Now()
	m.mu.Lock()
	again := now.Sub(m.doubted) < doubtPause
	if !again {
		m.doubted = now
	}
	m.mu.Unlock()
	if !again {
		m.doubt(func(s *subscriber.Subscription) bool { return s != one })
	}
}

// doubt has subscriptions refreshed, spread over a while.
func (m *Monitor) doubt(which func(*subscriber.Subscription) bool) {
	all := m.routes.All()
	spread := min(max(time.Duration(len(all))*doubtEach, time.Second), maxDoubt)
	for _, s := range all {
		if which(s) {
			s.Soon(rand.N(spread))
		}
	}
}

// refused notes that the PBX did not take the credentials.
func (m *Monitor) refused() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusedAt = time.Now()
}

// wasRefused reports whether that was a moment ago.
func (m *Monitor) wasRefused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.refusedAt.IsZero() && time.Since(m.refusedAt) < refusedPause
}

func (m *Monitor) respond(w sipx.ResponseWriter, res *sipx.Response) {
	if err := w.Respond(res); err != nil {
		m.cfg.Logger.Warn("a request was not answered", "error", err)
	}
}
