package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
)

// maxForwardings bounds the users whose forwarding is recorded.
const maxForwardings = 100_000

// forwardings is a [presence.ForwardingController] that accepts everything and
// records it. One that talks to Lync would call it here (§4.3).
type forwardings struct {
	log *slog.Logger

	mu sync.Mutex
	m  map[string]forwardingInfo // by ID of the user's entry
}

// forwardingInfo is one record.
type forwardingInfo struct {
	User        string    `json:"user"` // ID of the directory entry
	Account     string    `json:"account"`
	Destination string    `json:"destination"`
	Since       time.Time `json:"since"`
}

var _ presence.ForwardingController = (*forwardings)(nil)

func newForwardings(log *slog.Logger) *forwardings {
	return &forwardings{log: log, m: make(map[string]forwardingInfo)}
}

// Forward implements [presence.ForwardingController].
func (f *forwardings) Forward(_ context.Context, user directory.Entry, destination string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if destination == "" {
		delete(f.m, user.ID)
	} else {
		if _, known := f.m[user.ID]; !known && len(f.m) >= maxForwardings {
			return fmt.Errorf("%w: too many forwardings", presence.ErrRefused)
		}
		f.m[user.ID] = forwardingInfo{user.ID, user.Account, destination, time.Now().UTC().Truncate(time.Second)}
	}
	f.log.Info("forwarding", "user", user.ID, "destination", destination)
	return nil
}

// list returns the records by user.
func (f *forwardings) list() []forwardingInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.m), func(a, b forwardingInfo) int { return strings.Compare(a.User, b.User) })
}
