package stack

import "sync/atomic"

// Stats is what a stack has and has done. Numbers that only grow are counted from
// the start.
type Stats struct {
	Connections int // open
	Pending     int // requests sent that wait for their response
	Running     int // requests that a handler works on
	Waiting     int // requests that wait for a handler
	Queued      int // messages that wait to be taken by the system
	// The most that there may be of the first four: see [Config].
	MaxConnections, MaxPending, MaxRunning, MaxWaiting int

	Malformed     uint64 // messages that could not be parsed
	Strays        uint64 // responses to nothing that waits, most of them repeated
	Absorbed      uint64 // requests that came again
	Retransmitted uint64 // requests that were sent again
	Yielded       uint64 // connections closed to make room for others
	LogDropped    uint64 // lines that the log could not take in time
	// Refused is requests and connections refused, by reason: "rate" (of the
	// source), "overload", "leaving" (Serve has ended), "merged" (copies of
	// another request, RFC 3261 §8.2.2.2), "invite", "connection".
	Refused           map[string]uint64
	BytesIn, BytesOut uint64
}

type refusal int

const (
	refusedRate refusal = iota
	refusedOverload
	refusedLeaving
	refusedMerged
	refusedInvite
	refusedConnection
	refusals
)

func (r refusal) String() string {
	return [refusals]string{"rate", "overload", "leaving", "merged", "invite", "connection"}[r]
}

type counters struct {
	malformed, strays, absorbed, retransmitted, yielded atomic.Uint64
	bytesIn, bytesOut                                   atomic.Uint64
	refused                                             [refusals]atomic.Uint64
}

// Stats returns how the stack is doing.
func (s *Stack) Stats() Stats {
	c := &s.stats
	st := Stats{
		Pending:    int(s.pending.count.Load()),
		MaxPending: s.cfg.MaxPending, MaxConnections: s.cfg.MaxConnections, MaxRunning: s.cfg.MaxHandlers, MaxWaiting: s.cfg.MaxWaiting,
		Malformed:     c.malformed.Load(),
		Strays:        c.strays.Load(),
		Absorbed:      c.absorbed.Load(),
		Retransmitted: c.retransmitted.Load(),
		Yielded:       c.yielded.Load(),
		LogDropped:    uint64(s.lines.Dropped()),
		Refused:       make(map[string]uint64, refusals),
		BytesIn:       c.bytesIn.Load(),
		BytesOut:      c.bytesOut.Load(),
	}
	for r := range refusals {
		st.Refused[r.String()] = c.refused[r].Load()
	}
	st.Running, st.Waiting = s.jobs.Len()
	for _, k := range s.sockets {
		k.mu.Lock()
		st.Queued += len(k.queue)
		k.mu.Unlock()
	}
	for _, conn := range s.conns.all() {
		st.Connections++
		conn.mu.Lock()
		st.Queued += len(conn.out)
		conn.mu.Unlock()
	}
	return st
}
