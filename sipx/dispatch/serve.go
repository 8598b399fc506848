package dispatch

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime/debug"

	"github.com/openblustar/blustar/sipx"
)

// Lane is what requests have in common that must stay in order: the way they
// came and who sent them. A dialog has one From address, and so does a
// publication; a peer that speaks for many, as a gateway does, has a lane for
// each.
type Lane struct {
	Remote     netip.AddrPort
	Conn       uint64
	User, Host string
}

// LaneOf returns the lane of a request.
func LaneOf(r *sipx.Request) Lane {
	return Lane{r.Flow.Remote, r.Flow.Conn, r.From.URI.User, r.From.URI.Host}
}

// IsEstablished reports whether r is about something that exists: a dialog, or
// a publication.
func IsEstablished(r *sipx.Request) bool {
	if r.To.Tag() != "" {
		return true
	}
	_, modify := r.Header.Lookup("SIP-If-Match")
	return modify
}

// Serve calls h for r. Where it panics, r is answered 500, and log, which must not
// be nil, is told of it.
func Serve(ctx context.Context, h sipx.Handler, w sipx.ResponseWriter, r *sipx.Request, log *slog.Logger) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("handler panicked", "method", r.Method, "flow", r.Flow.String(),
				"panic", p, "stack", string(debug.Stack()))
			_ = w.Respond(sipx.NewResponse(500)) // an error where it had answered before
		}
	}()
	h.ServeSIP(ctx, w, r)
}
