package promstats

import (
	"github.com/prometheus/client_golang/prometheus"
)

// scrape writes the snapshots of all parts.
type scrape struct {
	ch chan<- prometheus.Metric
}

func (s *scrape) value(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	s.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("blustar_"+name, help, names, nil), kind, v, values...)
}

// held is a gauge.
func (s *scrape) held(name, help string, n int, labels ...string) {
	s.value(prometheus.GaugeValue, name, help, float64(n), labels...)
}

// flag is a gauge of 0 or 1.
func (s *scrape) flag(name, help string, on bool) {
	n := 0
	if on {
		n = 1
	}
	s.held(name, help, n)
}

// bounded is a gauge with its limit beside it.
func (s *scrape) bounded(name, help string, n, limit int) {
	s.held(name, help, n)
	s.limit(name, limit)
}

func (s *scrape) limit(name string, limit int) {
	s.value(prometheus.GaugeValue, name+"_limit",
		"The most that blustar_"+name+" may be: what comes beyond is refused or makes room.", float64(limit))
}

func (s *scrape) total(name, help string, n uint64, labels ...string) {
	s.value(prometheus.CounterValue, name, help, float64(n), labels...)
}

func (s *scrape) parts(p *Parts) {
	if p.Server != nil {
		s.server(p)
	}
	if p.Listeners != nil {
		s.bounded("event_clients", "HTTP clients that listen to the stream of presence changes.", p.Listeners(),
			p.MaxListeners)
	}
	if p.Guard != nil {
		s.guard(p)
	}
	if p.Stack != nil {
		s.stack(p)
	}
	if p.Directory != nil {
		s.directory(p)
	}
	if p.Certificate != nil {
		if c := p.Certificate(); c != nil {
			s.value(prometheus.GaugeValue, "certificate_expiry_timestamp_seconds",
				"When the TLS certificate that SIP clients are shown expires, Unix time.", float64(c.NotAfter.Unix()))
		}
	}
}

func (s *scrape) server(p *Parts) {
	n := p.Server.Stats()
	s.held("subscriptions", "Live subscriptions of watchers (SIP dialogs).", n.Subscriptions)
	s.bounded("watches", "Addresses that are watched, over all subscriptions.", n.Watches, p.Server.MaxSubscriptions())
	s.held("clients", "BluStar clients that are signed in.", n.Clients)
	s.held("presentities", "Users whom the presence server holds in memory.", n.Presentities)
	s.held("pending_addresses", "Watched addresses without an entry in the directory, or for which it could not be asked.", n.Pending)
	s.held("publications", "Live publications of presence.", n.Publications)
	s.held("notifies_under_way", "NOTIFYs that were sent and wait for the watcher's answer.", n.UnderWay)
	if p.Store != nil || p.Alive != nil {
		s.flag("store_failing", "1 where the store has not taken what it was given last: what changes is in memory alone.",
			n.StoreFailing)
		s.held("store_waiting", "Records that have changed and are not in the store yet.", n.StoreWaiting)
		s.total("store_errors_total", "Batches of records that the store did not take.", n.StoreErrors)
	}
	if p.Store != nil {
		s.value(prometheus.GaugeValue, "store_size_bytes", "Size of the store on disk.", float64(p.Store.Size()))
	}
	if p.Alive != nil {
		s.flag("node_alive", "1 while this one of several servers has its lease, and so may speak.", p.Alive())
	}
	s.total("log_dropped_total", "Log lines that were dropped because the log could not take them in time.",
		uint64(n.LogDropped))
}

func (s *scrape) guard(p *Parts) {
	n := p.Guard.Stats()
	for _, k := range []struct {
		kind string
		n    int
	}{{"challenge", n.Challenges}, {"session", n.Sessions}, {"failure", n.Failures}, {"nonce", n.Nonces},
		{"known", n.Known}} {
		s.held("auth_held", "What the authentication remembers, by kind: challenges, sessions, failures, Digest nonces, known users.",
			k.n, "kind", k.kind)
	}
	s.limit("auth_held", n.MaxRecords)
	s.bounded("auth_verifying", "Checks of passwords that are under way.", n.Verifying, n.MaxVerifying)
	s.bounded("auth_pending", "SIP requests that wait for a check of their credentials.", n.Pending, n.MaxPending)
	for _, d := range []struct {
		decision string
		n        uint64
	}{{"accepted", n.Accepted}, {"challenged", n.Challenged}, {"refused", n.Refused}, {"throttled", n.Throttled},
		{"unavailable", n.Unavailable}} {
		s.total("auth_decisions_total", "SIP requests that authentication decided about, by decision.", d.n, "decision", d.decision)
	}
}

func (s *scrape) stack(p *Parts) {
	n := p.Stack.Stats()
	s.bounded("connections", "Open SIP connections over TCP, TLS and WebSocket.", n.Connections, n.MaxConnections)
	s.bounded("sip_pending", "SIP requests that were sent and wait for their response.", n.Pending, n.MaxPending)
	s.bounded("sip_running", "SIP requests that are being handled.", n.Running, n.MaxRunning)
	s.bounded("sip_waiting", "SIP requests that wait to be handled.", n.Waiting, n.MaxWaiting)
	s.held("sip_queued", "SIP messages that wait to be taken by the network.", n.Queued)
	s.total("sip_malformed_total", "SIP messages that could not be parsed.", n.Malformed)
	s.total("sip_strays_total", "SIP responses that no request waited for, most of them repeated.", n.Strays)
	s.total("sip_absorbed_total", "SIP requests that came again and were answered as before.", n.Absorbed)
	s.total("sip_retransmitted_total", "SIP requests that were sent again for want of an answer.", n.Retransmitted)
	s.total("sip_yielded_total", "SIP connections that were closed to make room for others.", n.Yielded)
	for reason, count := range n.Refused {
		s.total("sip_refused_total", "SIP requests and connections that were refused before the presence server saw them, by reason.",
			count, "reason", reason)
	}
	s.total("sip_received_bytes_total", "Bytes of SIP that came in.", n.BytesIn)
	s.total("sip_sent_bytes_total", "Bytes of SIP that went out.", n.BytesOut)
}

func (s *scrape) directory(p *Parts) {
	n := p.Directory.Stats()
	s.flag("directory_up", "1 where an LDAP server works, as far as is known.", n.Up)
	s.held("directory_connections", "Open connections to the LDAP server for look-ups.", n.Conns)
	s.held("directory_pending", "Addresses that are being searched for in LDAP.", n.Pending)
	const cached = "Addresses whose LDAP answer is remembered, by whether they have an entry."
	s.held("directory_cached", cached, n.Known, "entry", "yes")
	s.held("directory_cached", cached, n.Unknown, "entry", "no")
	s.total("directory_searches_total", "Searches sent to the LDAP server.", n.Searches)
	s.total("directory_failures_total", "LDAP searches that got no answer.", n.Failures)
	for _, a := range []struct {
		from string
		n    uint64
	}{{"cache", n.Hits}, {"search", n.Misses}, {"shared_search", n.Shared}, {"stale_cache", n.Stale}} {
		s.total("directory_answers_total", "Addresses that were looked up in LDAP, by where the answer came from.", a.n,
			"from", a.from)
	}
	s.total("directory_evictions_total", "LDAP answers that were forgotten because the cache had no room.", n.Evicted)
}
