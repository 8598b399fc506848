package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/source"
)

// Feed takes what the host is told about lines, calendars and external users: by events
// or web hooks, for example. A host that has to watch them itself implements a monitor
// instead. The server keeps the values whether or not anybody watches, up to
// Config.MaxSources of each kind. When a call returns, the watchers have been notified.
//
// Its methods are safe for concurrent use. An error is an [*InputError], [ErrTooMany],
// [ErrNotStored] or, from a method that takes an address, one of the directory.
type Feed struct{ server *Server }

// Feed returns the server's feed.
func (s *Server) Feed() Feed { return Feed{s} }

// ErrTooMany says that a bound of [Config] is reached.
var ErrTooMany = source.ErrTooMany

// stored waits until what was said without an error is in the store, where everybody waits
// for that.
func (f Feed) stored(ctx context.Context, err error) error {
	if err == nil && f.server.journal.wait(ctx) != nil {
		return ErrNotStored
	}
	return err
}

// SetLine sets the state of the device with this directory number, written in any
// way that [directory.ParseTel] reads: "2719", "tel:2719", "+49 89 1234-20". A
// number that no entry has is no error: the state is kept for when one has it.
func (f Feed) SetLine(ctx context.Context, dn string, v LineState) error {
	if strings.TrimSpace(dn) == "" || len(dn) > maxText {
		return &InputError{"dn", "must not be empty or longer than 1024 bytes"}
	}
	key := lineKey(dn)
	p := f.server.observed(ctx, "tel:"+key, func(e *directory.Entry) bool { return slices.Contains(e.Lines, key) })
	defer f.server.presentities.unpin(p)
	return f.stored(ctx, f.server.lines.Set(key, v))
}

// Line returns what was last said of a device, and whether anything was.
func (f Feed) Line(dn string) (source.Value[LineState], bool) { return f.server.lines.Get(lineKey(dn)) }

// ClearLine makes the state of a device unknown.
func (f Feed) ClearLine(ctx context.Context, dn string) error {
	f.server.lines.Clear(lineKey(dn))
	return f.stored(ctx, nil)
}

// SetCalendar replaces the calendar of a mailbox. One that no entry has is no
// error.
func (f Feed) SetCalendar(ctx context.Context, mail string, v CalendarState) error {
	key := mailKey(mail)
	if key == "" || len(mail) > maxText {
		return &InputError{"mail", "must not be empty or longer than 1024 bytes"}
	}
	v.Appointments = slices.Clone(v.Appointments)
	p := f.server.observed(ctx, "sip:"+key, func(e *directory.Entry) bool { return mailKey(e.Mail) == key })
	defer f.server.presentities.unpin(p)
	return f.stored(ctx, f.server.calendars.Set(key, v))
}

// Calendar returns what was last said of a mailbox, and whether anything was.
func (f Feed) Calendar(mail string) (source.Value[CalendarState], bool) {
	return f.server.calendars.Get(mailKey(mail))
}

// ClearCalendar makes the calendar of a mailbox unknown.
func (f Feed) ClearCalendar(ctx context.Context, mail string) error {
	f.server.calendars.Clear(mailKey(mail))
	return f.stored(ctx, nil)
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
	if f.server.cfg.Hooks.Changed != nil {
		p := f.server.presentities.pin(&entry)
		defer f.server.presentities.unpin(p)
	}
	return f.stored(ctx, f.server.externals.Set(entry.ID, v))
}

// External returns what was last said of the user with this address, and whether
// anything was.
func (f Feed) External(ctx context.Context, address string) (v source.Value[ExternalState], known bool, err error) {
	entry, err := f.server.entry(ctx, address)
	if err != nil {
		return v, false, err
	}
	v, known = f.server.externals.Get(entry.ID)
	return v, known, nil
}

// ClearExternal removes the external presence of the user with this address.
func (f Feed) ClearExternal(ctx context.Context, address string) error {
	entry, err := f.server.entry(ctx, address)
	if err == nil {
		f.server.externals.Clear(entry.ID)
	}
	return f.stored(ctx, err)
}

// observed pins the presentity of an address where a hook wants to hear of it although
// nobody watches, and its entry is of the kind that is asked for; else nil.
func (s *Server) observed(ctx context.Context, address string, is func(*directory.Entry) bool) *presentity {
	if s.cfg.Hooks.Changed == nil {
		return nil
	}
	entry, err := s.entry(ctx, address)
	if err != nil || !is(&entry) {
		return nil
	}
	return s.presentities.pin(&entry)
}

// entry looks up the directory entry of an address.
func (s *Server) entry(ctx context.Context, address string) (directory.Entry, error) {
	a, err := directory.ParseAddress(address)
	if err != nil {
		return directory.Entry{}, &InputError{"address", err.Error()}
	}
	r := s.lookups.one(ctx, party{}, a)
	if r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
		return r.Entry, fmt.Errorf("presence: directory: %w", r.Err)
	}
	return r.Entry, r.Err
}

// Reload looks an address up again and takes over what has changed in its entry: its
// lines, for example. The server does so by itself with each request that needs the
// entry. Reload is for a host that is told of changes in its directory. The error is
// that of the directory.
func (s *Server) Reload(ctx context.Context, address string) error {
	entry, err := s.entry(ctx, address)
	if err != nil {
		return err
	}
	p := s.presentities.pin(&entry)
	p.update()
	s.presentities.unpin(p)
	return nil
}
