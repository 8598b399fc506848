package promstats

import (
	"context"
	"crypto/x509"
	"errors"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// Parts are what a [Collector] asks at each scrape. Each may be nil.
type Parts struct {
	Server    *presence.Server
	Guard     *auth.Guard
	Stack     *stack.Stack
	Directory *ldapdir.Directory
	// Certificate is the one that TLS clients are shown now.
	Certificate func() *x509.Certificate
	// Listeners counts those of the event stream, MaxListeners is how many there may be.
	Listeners    func() int
	MaxListeners int
	// Store is where the server keeps its records, such as a *boltstore.Store.
	Store interface{ Size() int64 }
	// Alive reports whether this server, one of several that share a store, may speak, as
	// Alive of a *natsstore.Store does.
	Alive func() bool
}

// Collector is a [prometheus.Collector]. It is safe for concurrent use.
type Collector struct {
	parts atomic.Pointer[Parts]
	build prometheus.Gauge

	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	notifies *prometheus.CounterVec
	trips    prometheus.Histogram
	changes  prometheus.Counter
	refusals *prometheus.CounterVec
	checks   *prometheus.HistogramVec
}

var quick = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New makes a collector.
func New() *Collector {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "blustar_" + name, Help: help}, labels)
	}
	c := &Collector{
		requests: counter("requests_total", "SIP requests that the presence server answered, by method and status code.",
			"method", "status"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "blustar_request_duration_seconds", Buckets: quick,
			Help: "Time from the arrival of a SIP request to its answer, checks of passwords included.",
		}, []string{"method"}),
		notifies: counter("notifies_total", "NOTIFYs sent to watchers, by what became of them: class of the answer, timeout, or error.",
			"outcome"),
		trips: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "blustar_notify_duration_seconds", Help: "Time from sending a NOTIFY to the watcher's answer, retransmissions included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 4, 8, 16, 32},
		}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{Name: "blustar_presence_changes_total",
			Help: "Changes of the status or note that watchers of a user see."}),
		refusals: counter("auth_refusals_total", "SIP requests that were not let in, by reason: bad_password, throttled and so on. "+
			"A first request without credentials is none.", "reason"),
		checks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "blustar_auth_verification_duration_seconds", Buckets: quick,
			Help: "Time of one check of a password, at the directory or against a local account, by result: " +
				"good, bad, or failed where it could not be found out.",
		}, []string{"result"}),
	}
	version, revision, goVersion := "unknown", "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goVersion = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	c.build = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "blustar_build_info", Help: "Always 1; its labels say which version of the program runs.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": goVersion},
	})
	c.build.Set(1)
	return c
}

// Watch says what is asked at each scrape from now on.
func (c *Collector) Watch(p Parts) { c.parts.Store(&p) }

// Hooks are the server's, to feed the collector; what happens is told to next too.
func (c *Collector) Hooks(next presence.Hooks) presence.Hooks {
	// What happens most often is not looked up by its labels each time.
	type usual struct {
		accepted prometheus.Counter
		latency  prometheus.Observer
	}
	often := make(map[string]usual)
	for _, method := range []string{"SUBSCRIBE", "PUBLISH"} {
		often[method] = usual{c.requests.WithLabelValues(method, "200"), c.latency.WithLabelValues(method)}
	}
	taken := c.notifies.WithLabelValues("2xx")
	return presence.Hooks{
		Changed: func(change presence.Change) {
			c.changes.Inc()
			if next.Changed != nil {
				next.Changed(change)
			}
		},
		Request: func(method string, status int, took time.Duration) {
			if u, ok := often[method]; ok && status == 200 {
				u.accepted.Inc()
				u.latency.Observe(took.Seconds())
			} else {
				label := methodLabel(method)
				c.requests.WithLabelValues(label, strconv.Itoa(status)).Inc()
				c.latency.WithLabelValues(label).Observe(took.Seconds())
			}
			if next.Request != nil {
				next.Request(method, status, took)
			}
		},
		Notify: func(status int, took time.Duration, err error) {
			if err == nil && status == 200 {
				taken.Inc()
			} else {
				c.notifies.WithLabelValues(outcome(status, err)).Inc()
			}
			if err == nil && took > 0 {
				c.trips.Observe(took.Seconds())
			}
			if next.Notify != nil {
				next.Notify(status, took, err)
			}
		},
	}
}

// methodLabel keeps strangers from making up label values.
func methodLabel(method string) string {
	switch method {
	case "SUBSCRIBE", "PUBLISH", "OPTIONS":
		return method
	}
	return "other"
}

func outcome(status int, err error) string {
	switch {
	case errors.Is(err, sipx.ErrTimeout):
		return "timeout"
	case err != nil, status < 100, status > 699:
		return "error"
	}
	return strconv.Itoa(status/100) + "xx"
}

// Decided is the guard's OnDecision.
func (c *Collector) Decided(e auth.Event) {
	if reason := auth.Reason(e.Reason); e.Verdict != auth.Accept && e.Reason != nil && e.Via != auth.ViaNothing {
		c.refusals.WithLabelValues(reason).Inc()
	}
}

// Verifier measures how long a verifier takes.
func (c *Collector) Verifier(v auth.Verifier) auth.Verifier {
	m := measured{v, c}
	if k, ok := v.(auth.AccountKeyer); ok {
		return struct {
			measured
			auth.AccountKeyer
		}{m, k}
	}
	return m
}

type measured struct {
	auth.Verifier
	c *Collector
}

func (m measured) Verify(ctx context.Context, credentials auth.Credentials) (auth.Identity, error) {
	began := time.Now()
	id, err := m.Verifier.Verify(ctx, credentials)
	result := "good"
	switch {
	case errors.Is(err, auth.ErrBadCredentials):
		result = "bad"
	case err != nil:
		result = "failed"
	}
	m.c.checks.WithLabelValues(result).Observe(time.Since(began).Seconds())
	return id, err
}

// LocksAccounts is what package auth asks a verifier for; without an answer, it does.
func (m measured) LocksAccounts() bool {
	v, ok := m.Verifier.(interface{ LocksAccounts() bool })
	return !ok || v.LocksAccounts()
}

// Describe implements [prometheus.Collector]. It describes nothing: what there is
// differs with [Parts].
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range []prometheus.Collector{c.build, c.requests, c.latency, c.notifies, c.trips, c.changes, c.refusals, c.checks} {
		m.Collect(ch)
	}
	if p := c.parts.Load(); p != nil {
		(&scrape{ch}).parts(p)
	}
}
