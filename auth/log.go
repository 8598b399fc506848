package auth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// report counts a decision, and tells the host and the log.
func (g *Guard) report(ctx context.Context, r *Request, o outcome) {
	level, count := slog.LevelDebug, &g.counters.accepted
	switch {
	case o.verdict == Accept:
		if o.via == ViaCredentials {
			level = slog.LevelInfo
		}
	case o.verdict == Unavailable:
		level, count = slog.LevelWarn, &g.counters.unavailable
	case errors.Is(o.reason, ErrThrottled):
		level, count = slog.LevelWarn, &g.counters.throttled
	case o.verdict == Challenge && !errors.Is(o.reason, ErrBadCredentials):
		count = &g.counters.challenged
	default:
		level, count = slog.LevelInfo, &g.counters.refused
	}
	count.Add(1)
	logs := g.cfg.Logger.Enabled(ctx, level)
	if g.cfg.OnDecision == nil && !logs {
		return
	}
	e := Event{
		Verdict: o.verdict, Client: r.Client, Method: r.Method, Account: cmp.Or(o.account, o.identity.Account), AMCC: r.AMCC,
		Source: r.Source, Via: o.via, Reason: o.reason,
	}
	if g.cfg.OnDecision != nil {
		g.cfg.OnDecision(e)
	}
	if logs && (level == slog.LevelDebug || o.verdict == Accept || g.refusals.first(e)) {
		e.log(ctx, g.cfg.Logger, level)
	}
}

func (e Event) log(ctx context.Context, log *slog.Logger, level slog.Level) {
	const most = 128 // bytes of a field that a stranger may fill
	attrs := []slog.Attr{
		slog.String("verdict", e.Verdict.String()), slog.String("client", cut(e.Client, most)), slog.String("method", cut(e.Method, 16)),
		slog.String("account", cut(e.Account, most)), slog.Any("source", e.Source), slog.String("via", string(e.Via)),
	}
	if e.Reason != nil {
		attrs = append(attrs, slog.String("reason", Reason(e.Reason)), slog.String("error", cut(e.Reason.Error(), 2*most)))
	}
	log.LogAttrs(ctx, level, "authentication", attrs...)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// refusals keeps those who are refused again and again from filling the log. Of one
// source and reason, one line a minute is written; the others are counted. The counts
// are written with the first refusal after that minute.
type refusals struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time
	seen  map[refusalKind]int // lines that were held back
}

type refusalKind struct{ source, reason string }

// maxRefusalKinds is how many sources and reasons have a line of their own in a
// minute. The rest count as one.
const maxRefusalKinds = 100

// first reports whether a refusal is to be written.
func (l *refusals) first(e Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.since) >= time.Minute {
		for k, n := range l.seen {
			if n > 0 {
				l.log.Warn("authentication refused again", "times", n, "source", k.source, "reason", k.reason, "since", l.since)
			}
		}
		l.since, l.seen = now, make(map[refusalKind]int)
	}
	k := refusalKind{sourceNet(e.Source).String(), Reason(e.Reason)}
	n, again := l.seen[k]
	if !again && len(l.seen) >= maxRefusalKinds {
		k = refusalKind{"others", "any"}
		n, again = l.seen[k]
	}
	if !again {
		l.seen[k] = 0
		return true
	}
	l.seen[k] = n + 1
	return false
}
