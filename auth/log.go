package auth

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
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
	if logs && (level == slog.LevelDebug || o.verdict == Accept || g.refusals.First(sourceNet(e.Source).String(), Reason(e.Reason))) {
		e.log(ctx, g.cfg.Logger, level)
	}
}

func (e Event) log(ctx context.Context, log *slog.Logger, level slog.Level) {
	const most = 128 // bytes of a field that a stranger may fill
	attrs := []slog.Attr{
		slog.String("verdict", e.Verdict.String()), slog.String("client", cut(e.Client, most)),
		slog.String("method", cut(e.Method, 16)),
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
