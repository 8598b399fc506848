package client

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// SubscriptionState is what a NOTIFY says of its subscription (RFC 6665 §4.1.3).
type SubscriptionState string

// The states of RFC 6665. Others are passed on as they came.
const (
	Active     SubscriptionState = "active"
	Pending    SubscriptionState = "pending"
	Terminated SubscriptionState = "terminated"
)

// Notification is what the server told about one entity. Who gets one may keep
// it, and must not change what it points to.
type Notification struct {
	// Entity is whose presence it is: as the document says, or the From of the
	// NOTIFY where there is no document.
	Entity string
	// Own says that it came over the subscription to the user's own address.
	Own bool
	// Presence is the document, nil where there was none, and Body its bytes.
	Presence *pidf.Presence
	Body     []byte
	// State is that of the subscription. With Terminated, Reason says why, in
	// lower case: deactivated, probation, rejected, timeout, giveup, noresource,
	// invariant, or what else the server said. The client subscribes again where
	// RFC 6665 lets it, by itself, after RetryAfter where the server said that;
	// it does not after rejected, noresource and invariant.
	State      SubscriptionState
	Reason     string
	RetryAfter time.Duration
	// Err is why the client has given the subscription up where no NOTIFY said
	// so: then State is Terminated and the rest is empty.
	Err error
	// Received is when it came.
	Received time.Time
}

// Summary is what matters most of a Notification.
type Summary struct {
	Entity string
	// Status is the consolidated status: available, busy, away, unavailable,
	// signed out or unknown in a BluStar document (§3.2), another RPID activity
	// such as "on-the-phone" where a document has that. Empty without a document.
	Status string
	Note   string    // the text that goes with it
	Lines  []aa.Line // the supervised devices
	Open   []string  // the services that are open: audio, video, message, …
	Closed []string  // and those that are closed
	Ended  string    // why the subscription has ended; empty while it lasts
}

// Summary reads the document.
func (n Notification) Summary() Summary {
	s := Summary{Entity: n.Entity}
	if n.State == Terminated {
		s.Ended = n.Reason
		switch {
		case n.Err != nil:
			s.Ended = n.Err.Error()
		case s.Ended == "":
			s.Ended = "no reason given"
		}
		if n.RetryAfter > 0 {
			s.Ended += " (retry-after: " + n.RetryAfter.String() + ")"
		}
	}
	p := n.Presence
	if p == nil {
		return s
	}
	for _, d := range p.Devices {
		if line := aa.LineOf(&d); line != nil {
			s.Lines = append(s.Lines, *line)
		}
	}
	for _, t := range p.Tuples {
		if t.Basic == pidf.Open {
			s.Open = append(s.Open, t.ID)
		} else {
			s.Closed = append(s.Closed, t.ID)
		}
	}
	s.Status, s.Note = status(p)
	return s
}

// status is the first activity and its note; a document without one says no
// more than whether a service is open (RFC 3863 §4.1.4).
func status(p *pidf.Presence) (status, note string) {
	if len(p.Notes) > 0 {
		note = p.Notes[0].Text
	}
	for _, person := range p.Persons {
		if len(person.Notes) > 0 && note == "" {
			note = person.Notes[0].Text
		}
		a := person.Activities
		if a == nil || len(a.Values) == 0 {
			continue
		}
		if len(a.Notes) > 0 {
			note = a.Notes[0].Text
		}
		if value := a.Values[0]; value.Name != "other" {
			return value.Name, note
		} else if value.Text != "" {
			return value.Text, note
		}
		return "other", note
	}
	status = "unknown"
	for _, t := range p.Tuples {
		switch {
		case t.Basic == pidf.Open:
			return "available", note
		case t.Basic == pidf.Closed:
			status = "signed out"
		}
	}
	return status, note
}

// String writes the summary in one line. Texts are quoted, so that nothing that a
// server sends can look like something else.
func (s Summary) String() string {
	var b strings.Builder
	b.WriteString(printable(s.Entity))
	if s.Status != "" {
		b.WriteString(" " + printable(s.Status))
	}
	if s.Note != "" {
		b.WriteString(" " + quote(s.Note))
	}
	if len(s.Lines) > 0 {
		b.WriteString(" lines")
		for _, l := range s.Lines {
			b.WriteString(" " + printable(l.DN) + "=" + printable(string(l.State)))
			if l.Forward != nil {
				b.WriteString("→" + printable(l.Forward.Destination))
			}
		}
	}
	if len(s.Open) > 0 {
		b.WriteString(" services " + printable(strings.Join(s.Open, ",")))
	}
	if s.Ended != "" {
		b.WriteString(" ended: " + printable(s.Ended))
	}
	return b.String()
}

// printable replaces what would disturb a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func quote(s string) string { return strconv.QuoteToGraphic(s) }
