package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/presence/promstats"
)

// newMetrics is /metrics: of the server, of Go and of the process.
func newMetrics(c *promstats.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// measure has the metrics show all parts.
func (s *server) measure() {
	p := promstats.Parts{
		Server: s.presence, Guard: s.guard, Stack: s.stack, Directory: s.backends.ldap,
		Certificate: s.backends.leaf, Listeners: s.stream.Listeners, MaxListeners: console.MaxListeners,
	}
	if s.store != nil {
		p.Store = s.store
	}
	if s.nodes != nil {
		p.Alive = s.nodes.Alive
	}
	s.metrics.Watch(p)
}
