// Package promstats shows how a presence server is doing, as metrics of Prometheus.
//
//	metrics := promstats.New()
//	server, err := presence.New(presence.Config{…, Hooks: metrics.Hooks(presence.Hooks{})})
//	guard, err := auth.New(auth.Config{…, Verifier: metrics.Verifier(accounts), OnDecision: metrics.Decided})
//	metrics.Watch(promstats.Parts{Server: server, Guard: guard, Stack: sip})
//	prometheus.MustRegister(metrics)
//
// All names begin with blustar_. What is held is a gauge; where a bound is known, it
// stands beside it, as blustar_watches and blustar_watches_limit. No label is what a
// stranger wrote.
package promstats
