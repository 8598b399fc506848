package presence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
)

// Guard decides who is let in. [*auth.Guard] is one.
type Guard interface {
	// Check judges one request. It may take as long as its verifier, and ends
	// with ctx. It is safe for concurrent use. Whom it accepts without an
	// identity may act for the address in From, whosever that is.
	Check(ctx context.Context, r auth.Request) auth.Decision
}

// sessionRestorer is a [Guard] that takes sessions back.
type sessionRestorer interface {
	RestoreSession(auth.SessionRecord) error
}

// Policy decides what a watcher may see of a user. The server asks it when somebody begins
// to watch an address, and again with each refresh. [Server.ApplyPolicy] asks again at once.
// A watcher who is authenticated as the user sees everything; the policy is not asked.
type Policy interface {
	// Sight returns how much the watcher sees. An error is logged, and the watcher is
	// shown the status "unknown". So is one whose own entry the directory cannot tell
	// now. Sight is called by several goroutines at once. If it blocks, it holds up the
	// request that waits for it, and nothing else.
	Sight(ctx context.Context, w Watcher, whom directory.Entry) (consolidation.Sight, error)
}

// Watcher is somebody who wants to see.
type Watcher struct {
	Account string // as authenticated; "" for nobody
	Address string // in From: the watcher's word, unless an account stands for it
	// Entry is what the directory has for Address. Where it has nothing for that, Entry is
	// what a directory that is a [directory.Accounts] has for Account. It is nil where there
	// is none, or it is not the account's. It must not be changed.
	Entry *directory.Entry

	id   auth.Identity
	open bool // the directory cannot tell
}

// LineMonitor watches lines. MonitorLine watches one line until ctx ends. It calls update
// with each state, with the first as soon as it knows it. It returns when ctx has ended,
// or with the error that keeps it from going on. Then the server calls it again, with
// back-off. There is one call for each line, even if several presentities have that
// line. Each call has a goroutine of its own.
//
// dn is the number as the entry has it, without visual separators. update may be called
// from any goroutine, one call at a time, and not after MonitorLine has returned. update
// does not wait for the network. A value that is not valid is logged and left out.
type LineMonitor interface {
	MonitorLine(ctx context.Context, dn string, update func(LineState)) error
}

// CalendarMonitor watches mailboxes, as [LineMonitor] watches lines. mail is in lower case.
// A bad appointment is left out, and so are those beyond Config.MaxAppointments. The
// others of the calendar count.
type CalendarMonitor interface {
	MonitorCalendar(ctx context.Context, mail string, update func(CalendarState)) error
}

// ExternalMonitor watches external users, as [LineMonitor] watches lines. user is the
// entry that the directory had when somebody began to watch.
type ExternalMonitor interface {
	MonitorExternal(ctx context.Context, user directory.Entry, update func(ExternalState)) error
}

// LineState is what a PBX says of a line.
type LineState struct {
	State    aa.LineState  // mandatory: idle, ringing, busy or unknown
	Forward  string        // destination of an immediate forward, or empty; at most 1024 bytes
	Lifetime time.Duration // the value fades to unknown after it; 0: it does not
}

// CalendarState is what a calendar system says of a mailbox. Each appointment
// has one of the states of pidf, and ends after it begins; its ID, subject and
// location have at most 1024 bytes. The zero CalendarState is a calendar without
// appointments.
type CalendarState struct {
	Appointments []aa.Appointment
	Lifetime     time.Duration // as in LineState
}

// ExternalState is what an external presence system says of a user. Its texts
// have at most 1024 bytes. The zero ExternalState counts for nothing.
type ExternalState struct {
	Status         aa.Status // empty: it does not say; "other" is for BluStar clients alone
	FreeText       string
	FwdDestination string
	TelephoneEvent string
	Lifetime       time.Duration // as in LineState
}

// InputError says which field of a value is wrong.
type InputError struct {
	Field  string
	Reason string
}

func (e *InputError) Error() string { return fmt.Sprintf("presence: %s: %s", e.Field, e.Reason) }

// ForwardingController forwards a user's calls in the external system such as
// Lync (§4.3). It is safe for concurrent use; calls for one user come one at a
// time, which holds up other forwardings of that user while one runs, and nothing
// else.
type ForwardingController interface {
	// Forward has calls to user forwarded to destination, a sip or tel URI;
	// empty ends it. An error of [ErrRefused] is answered 403, any other 503.
	Forward(ctx context.Context, user directory.Entry, destination string) error
}

// ErrRefused is what a [ForwardingController] returns, perhaps wrapped, for what
// it will not do.
var ErrRefused = errors.New("presence: refused")

// Hooks are functions to be told what happens. Each may be nil. They are called by
// several goroutines at once, without a lock held. They must be quick, must not block
// and must not call the server: each says what waits for it. A host that has more to do
// gives it to a goroutine of its own.
type Hooks struct {
	// Changed is told each change of a consolidated status or note of users in
	// memory: who is watched, signed in or has published. With it set, the Feed
	// looks up whose the lines and mailboxes are that it is told of, as far as
	// their number or address is one of the user too, so that changes of users
	// whom nobody watches are told as well. The changes of one user come one after
	// another, in their order. While it runs, watchers are not told of that user, and
	// whoever made the change waits: a client for its answer, or the Feed.
	Changed func(c Change)
	// Request is told the outcome of each request that was served: its method as
	// the client wrote it, and the status of the response, which has left. The next
	// requests of that client may wait for it.
	Request func(method string, status int, took time.Duration)
	// Notify is told the outcome of each NOTIFY: the status of its final
	// response and how long that took (0 for the last one of a subscription), or 0
	// with an error. It is called where the network is read: nothing more is read
	// from that socket until it returns.
	Notify func(status int, took time.Duration, err error)
}

// Change is a change of what watchers of a presentity see.
type Change struct {
	Entity    string // the presentity's preferred address
	Status    consolidation.Status
	Note      string
	Timestamp time.Time
}

// Decoration is a document on its way to watchers. The host can add elements to it.
type Decoration struct {
	Entry    directory.Entry
	Sight    consolidation.Sight // of those who will see it
	Result   consolidation.Result
	Document *pidf.Presence // to be changed; Entity and the ID of the first person are set afterwards
}

// maxText bounds each text of a source's value, in bytes.
const maxText = 1024
