package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openblustar/blustar/directory"
)

// Feed takes what a host is told by its PBX, calendar and external presence
// systems, where they push (events, web hooks) rather than being watched by a
// monitor. Values are kept whether or not anybody watches (BSP-2.5-1, 2.6-1,
// 2.7-1), up to Config.MaxSources of each kind. It is safe for concurrent use;
// watchers are notified before a call returns. The error is an [*InputError],
// [ErrTooMany], or one of the directory's.
type Feed struct{ server *Server }

// Feed returns the server's feed.
func (s *Server) Feed() Feed { return Feed{s} }

// InputError says which field of a value is wrong.
type InputError struct {
	Field  string
	Reason string
}

func (e *InputError) Error() string { return fmt.Sprintf("presence: %s: %s", e.Field, e.Reason) }

// maxText bounds each text of a source's value, in bytes.
const maxText = 1024

// SetLine sets the state of the device with this directory number, written in any
// way that [directory.ParseTel] reads: "2719", "tel:2719", "+49 89 1234-20". A
// number that no entry has is no error: the state is kept for when one has it.
func (f Feed) SetLine(dn string, v LineState) error {
	if strings.TrimSpace(dn) == "" || len(dn) > maxText {
		return &InputError{"dn", "must not be empty or longer than 1024 bytes"}
	}
	key := lineKey(dn)
	return f.server.lines.put(key, v, func() *presentity {
		return f.server.observed("tel:"+key, func(e *directory.Entry) bool { return slices.Contains(e.Lines, key) })
	})
}

// SetCalendar replaces the calendar of a mailbox. One that no entry has is no
// error.
func (f Feed) SetCalendar(mail string, v CalendarState) error {
	if mailKey(mail) == "" || len(mail) > maxText {
		return &InputError{"mail", "must not be empty or longer than 1024 bytes"}
	}
	v.Appointments = slices.Clone(v.Appointments)
	key := mailKey(mail)
	return f.server.calendars.put(key, v, func() *presentity {
		return f.server.observed("sip:"+key, func(e *directory.Entry) bool { return mailKey(e.Mail) == key })
	})
}

// SetExternal sets the external presence of the user with this address;
// [directory.ErrNotFound] where there is none.
func (f Feed) SetExternal(ctx context.Context, address string, v ExternalState) error {
	if err := checkExternal(v); err != nil {
		return err
	}
	entry, err := f.server.entry(ctx, address)
	if err != nil {
		return err
	}
	return f.server.externals.put(entry.ID, v, func() *presentity {
		if f.server.cfg.Hooks.Changed == nil {
			return nil
		}
		return f.server.presentities.acquire(entry.ID, resolved, entry)
	})
}

// ClearExternal removes the external presence of the user with this address.
func (f Feed) ClearExternal(ctx context.Context, address string) error {
	entry, err := f.server.entry(ctx, address)
	if err != nil {
		return err
	}
	f.server.externals.mu.Lock()
	src := f.server.externals.m[entry.ID]
	f.server.externals.mu.Unlock()
	if src != nil {
		src.clear()
	}
	return nil
}

// observed returns the presentity of an address, referred to once more, where a
// hook wants to hear of it although nobody watches, and its entry is of the
// kind that is asked for; else nil.
func (s *Server) observed(address string, is func(*directory.Entry) bool) *presentity {
	if s.cfg.Hooks.Changed == nil {
		return nil
	}
	entry, err := s.entry(s.ctx, address)
	if err != nil || !is(&entry) {
		return nil
	}
	return s.presentities.acquire(entry.ID, resolved, entry)
}

// lineKey writes a directory number as directory entries have it.
func lineKey(dn string) string {
	if a, err := directory.ParseTel(strings.TrimSpace(dn)); err == nil {
		return a.Value
	}
	return strings.TrimSpace(dn)
}

// entry looks up the directory entry of an address.
func (s *Server) entry(ctx context.Context, address string) (directory.Entry, error) {
	a, err := directory.ParseAddress(address)
	if err != nil {
		return directory.Entry{}, &InputError{"address", err.Error()}
	}
	r := s.lookup(ctx, []directory.Address{a})[0]
	if r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
		return r.Entry, fmt.Errorf("presence: directory: %w", r.Err)
	}
	return r.Entry, r.Err
}
