package main

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// metrics is what /metrics shows: counters that the server's hooks feed, and
// what snapshots say when they are scraped.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	notifies *prometheus.CounterVec
	changes  prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "blustar_requests_total", Help: "SIP requests that were answered, by method and status.",
		}, []string{"method", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "blustar_request_duration_seconds", Help: "Time from a SIP request to its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method"}),
		notifies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "blustar_notifies_total", Help: "NOTIFYs by outcome: class of the answer, timeout, or error.",
		}, []string{"outcome"}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "blustar_presence_changes_total", Help: "Changes of a consolidated status or note.",
		}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.notifies, m.changes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// hooks is the server's hooks; changes go on to publish.
func (m *metrics) hooks(publish func(presence.Change)) presence.Hooks {
	return presence.Hooks{
		Changed: func(c presence.Change) {
			m.changes.Inc()
			publish(c)
		},
		Request: func(method string, status int, took time.Duration) {
			method = methodLabel(method)
			m.requests.WithLabelValues(method, strconv.Itoa(status)).Inc()
			m.latency.WithLabelValues(method).Observe(took.Seconds())
		},
		Notify: func(status int, err error) { m.notifies.WithLabelValues(outcome(status, err)).Inc() },
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

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// collect adds what the parts of s say of themselves.
func (m *metrics) collect(s *server) { m.registry.MustRegister(snapshots{s}) }

// snapshots is a [prometheus.Collector] of the Stats of all parts.
type snapshots struct{ s *server }

// Describe sends nothing: the values differ with the configuration.
func (snapshots) Describe(chan<- *prometheus.Desc) {}

// Collect takes a snapshot of each part.
func (c snapshots) Collect(ch chan<- prometheus.Metric) {
	value := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("blustar_"+name, help, names, nil), kind, v, values...)
	}
	held := func(name, help string, n int, labels ...string) {
		if n >= 0 { // -1 is "not known"
			value(prometheus.GaugeValue, name, help, float64(n), labels...)
		}
	}
	total := func(name, help string, n uint64, labels ...string) {
		value(prometheus.CounterValue, name, help, float64(n), labels...)
	}

	p := c.s.presence.Stats()
	held("subscriptions", "Live subscriptions (dialogs).", p.Subscriptions)
	held("watches", "Addresses watched in them.", p.Watches)
	held("clients", "Live BluStar clients.", p.Clients)
	held("presentities", "Users held in memory.", p.Presentities)
	held("publications", "Live publications.", p.Publications)
	held("notifies_under_way", "NOTIFYs without an answer.", p.UnderWay)
	held("event_clients", "Clients of /v1/events.", c.s.stream.Listeners())

	a := c.s.guard.Stats()
	const authHeld, decisions = "What the guard holds, by kind.", "Decisions of the guard."
	held("auth_held", authHeld, a.Challenges, "kind", "challenge")
	held("auth_held", authHeld, a.Sessions, "kind", "session")
	held("auth_held", authHeld, a.Failures, "kind", "failure")
	held("auth_held", authHeld, a.Nonces, "kind", "nonce")
	held("auth_verifying", "Verifications under way.", a.Verifying)
	total("auth_decisions_total", decisions, a.Accepted, "decision", "accepted")
	total("auth_decisions_total", decisions, a.Challenged, "decision", "challenged")
	total("auth_decisions_total", decisions, a.Refused, "decision", "refused")
	total("auth_decisions_total", decisions, a.Throttled, "decision", "throttled")
	total("auth_decisions_total", decisions, a.Unavailable, "decision", "unavailable")
	total("auth_verifications_total", "Checks of credentials.", a.Verifications)
	value(prometheus.CounterValue, "auth_verification_seconds_total", "Time that they took.", a.VerifyTime.Seconds())

	if c.s.backends.ldap == nil {
		return
	}
	d := c.s.backends.ldap.Stats()
	up := 0
	if d.Up {
		up = 1
	}
	held("directory_up", "1 where a directory server works, as far as is known.", up)
	held("directory_connections", "Open connections.", d.Conns)
	held("directory_pending", "Addresses being searched for.", d.Pending)
	held("directory_cached", "Addresses in the cache.", d.Known, "entry", "yes")
	held("directory_cached", "Addresses in the cache.", d.Unknown, "entry", "no")
	total("directory_searches_total", "Searches.", d.Searches)
	total("directory_failures_total", "Searches without an answer.", d.Failures)
	const answers = "Addresses answered, by where from."
	total("directory_answers_total", answers, d.Hits, "from", "cache")
	total("directory_answers_total", answers, d.Misses, "from", "search")
	total("directory_answers_total", answers, d.Shared, "from", "shared_search")
	total("directory_answers_total", answers, d.Stale, "from", "stale_cache")
	total("directory_evictions_total", "Addresses that the cache had no room for.", d.Evicted)
}
