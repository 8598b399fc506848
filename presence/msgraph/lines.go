package msgraph

import (
	"context"
	"slices"
	"sync"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// Monitors returns monitors for a presence server that has calls on lines written to Teams: lines,
// whose states are passed on to [Writer.SetLine], and that of Teams, which says whose they are. So
// calls are written of users whom somebody watches. The server uses both.
func (w *Writer) Monitors(lines presence.LineMonitor) (presence.LineMonitor, presence.ExternalMonitor) {
	t := &tap{writer: w, lines: lines, users: make(map[string][]directory.Entry),
		states: make(map[string]presence.LineState)}
	return t, t
}

// tap knows whose devices are monitored, and what they do.
type tap struct {
	writer *Writer
	lines  presence.LineMonitor

	mu     sync.Mutex                   // before those of the writer
	users  map[string][]directory.Entry // by device
	states map[string]presence.LineState
}

// MonitorLine implements [presence.LineMonitor].
func (t *tap) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	defer t.set(dn, presence.LineState{State: aa.LineUnknown})
	return t.lines.MonitorLine(ctx, dn, func(state presence.LineState) {
		t.set(dn, state)
		update(state)
	})
}

// set notes what a device does.
func (t *tap) set(dn string, state presence.LineState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states[dn] = state
	if state.State == aa.LineUnknown {
		delete(t.states, dn)
	}
	for _, user := range t.users[dn] {
		t.writer.SetLine(user, dn, state)
	}
}

// MonitorExternal implements [presence.ExternalMonitor].
func (t *tap) MonitorExternal(ctx context.Context, user directory.Entry, update func(presence.ExternalState)) error {
	t.enter(user)
	defer t.exit(user)
	return t.writer.teams.MonitorExternal(ctx, user, update)
}

// enter notes whose devices these are, and says what they do. Of a line that has no state yet the
// writer is told as well: something may be left in Teams from before.
func (t *tap) enter(user directory.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, dn := range user.Lines {
		t.users[dn] = append(t.users[dn], user)
		t.writer.SetLine(user, dn, t.states[dn])
	}
}

// exit undoes enter: nobody looks after what is written any more.
func (t *tap) exit(user directory.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, dn := range user.Lines {
		t.writer.SetLine(user, dn, presence.LineState{State: aa.LineUnknown})
		rest := slices.DeleteFunc(t.users[dn], func(e directory.Entry) bool { return e.ID == user.ID })
		if t.users[dn] = rest; len(rest) == 0 {
			delete(t.users, dn)
		}
	}
}
