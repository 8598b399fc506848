// Command quickstart shows a day of presence in a few seconds: it starts a
// server, signs two clients in over real UDP on loopback, and prints what they
// see of each other. It needs no arguments and no set-up.
//
// The first half is the wiring of a server and of a client, to be copied from;
// the second is the day.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// startServer starts a presence server on a free UDP port. The caller shuts
// both down, the server first.
func startServer() (*presence.Server, sipx.Stack, error) {
	// Whose address, telephone line and mailbox is it? Package ldapdir asks LDAP.
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Lines: []string{"2719"}, Mail: "tom@example.com"},
		{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}, Lines: []string{"2720"}, Mail: "ann@example.com"},
	})
	if err != nil {
		return nil, nil, err
	}
	// Is it their password? Package ldapdir asks Active Directory.
	hash, err := auth.HashPassword([]byte(password))
	if err != nil {
		return nil, nil, err
	}
	accounts, err := auth.NewLocalAccounts([]auth.Account{
		{Account: `DE\tom`, PasswordHash: hash}, {Account: `DE\ann`, PasswordHash: hash},
	})
	if err != nil {
		return nil, nil, err
	}
	guard, err := auth.New(auth.Config{Verifier: accounts})
	if err != nil {
		return nil, nil, err
	}
	sip, err := stack.Listen(stack.Config{
		Listen:             []string{"udp:127.0.0.1:0"},
		TransactionTimeout: 2 * time.Second, // who does not answer a NOTIFY is gone; 32 s by default
	})
	if err != nil {
		return nil, nil, err
	}
	server, err := presence.New(presence.Config{
		Sender: sip, Directory: users, Guard: guard, Domains: []string{"example.com"},
	})
	if err != nil {
		return nil, nil, errors.Join(err, sip.Shutdown(context.Background()))
	}
	go sip.Serve(context.Background(), server) // until stack.Shutdown
	return server, sip, nil
}

const password = "correct horse"

// person is a user with a client, on a stack of its own as on another machine.
type person struct {
	*client.Client
	name, address string
	stack         sipx.Stack
	heard         chan client.Notification
}

func newPerson(name string, server sipx.Flow) (*person, error) {
	id := strings.ToLower(name)
	uri, err := sipx.ParseURI("sip:" + server.Local.String())
	if err != nil {
		return nil, err
	}
	credentials, err := auth.NewCredentials(`DE\`+id, []byte(password))
	if err != nil {
		return nil, err
	}
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		return nil, err
	}
	p := &person{name: name, address: "sip:" + id + "@example.com", stack: sip, heard: make(chan client.Notification, 64)}
	p.Client, err = client.New(client.Config{
		Sender: sip, Server: uri, Address: p.address, Credentials: credentials,
		Notify: func(n client.Notification) { p.heard <- n },
	})
	if err != nil {
		return nil, errors.Join(err, sip.Shutdown(context.Background()))
	}
	go sip.Serve(context.Background(), p) // until stack.Shutdown
	return p, nil
}

// vanish ends a client as a crash does: without a word to anybody.
func (p *person) vanish() {
	p.Abandon()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.stack.Shutdown(now) // waits for nothing
}

// sees waits until the person is told this of other.
func (p *person) sees(ctx context.Context, other *person, want string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	last := "nothing"
	for last != want {
		select {
		case n := <-p.heard:
			s := n.Summary()
			if s.Entity != other.address {
				continue
			}
			last = s.Status
			if s.Note != "" {
				last += ", " + s.Note
			}
			if len(s.Lines) > 0 && s.Lines[0].State != aa.LineUnknown {
				last += fmt.Sprintf(" (telephone %s: %s)", s.Lines[0].DN, s.Lines[0].State)
			}
		case <-ctx.Done():
			return fmt.Errorf("%s was not told that %s is %q; the last was %q", p.name, other.name, want, last)
		}
	}
	return nil
}

// run is the day.
func run(ctx context.Context, out io.Writer) error {
	server, sip, err := startServer()
	if err != nil {
		return err
	}
	defer sip.Shutdown(ctx)
	defer server.Shutdown(ctx)
	at := sip.Listening()[0]
	fmt.Fprintf(out, "A presence server listens on %s %s.\n", at.Transport, at.Local)
	tom, err := newPerson("Tom", at)
	if err != nil {
		return err
	}
	defer tom.vanish()
	ann, err := newPerson("Ann", at)
	if err != nil {
		return err
	}
	defer ann.vanish()

	watch := func(who, whom *person) func() error {
		return func() error { return who.Watch(ctx, whom.address) }
	}
	publish := func(who *person, status aa.Status, note string) func() error {
		return func() error { return who.Publish(ctx, client.Publication{Status: status, Note: note}) }
	}
	telephone := func(state aa.LineState) func() error { // what a PBX would tell
		return func() error { return server.Feed().SetLine(ctx, "2719", presence.LineState{State: state}) }
	}
	meeting := func() error { // what a calendar would
		start := time.Now().Add(2 * time.Second)
		return server.Feed().SetCalendar(ctx, "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{{
			ID: "1", State: aa.CalendarBusy, Subject: "Planning", From: start, End: start.Add(2 * time.Second),
		}}})
	}
	explain := func() error { // why is he shown like that?
		e, err := server.Explain(ctx, tom.address)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  (The server explains: the rule %q won, for the source %q, and in %v it changes by itself.)\n",
			e.Rule, e.Winner.Source, e.NextChange.Sub(e.At).Round(time.Second))
		return nil
	}
	crash := func() error { ann.vanish(); return tom.Publish(ctx, client.Publication{Note: "Ann?"}) } // she gets no NOTIFY of that
	nothing := func() error { return nil }

	for _, moment := range []struct {
		what     string
		do       func() error
		who, of  *person
		sees     string
		whatElse func() error
	}{
		{"Tom signs in, and watches Ann, who is not there yet.", watch(tom, ann), tom, ann, "signed out, Signed out", nothing},
		{"Ann signs in, and watches Tom, who has said nothing yet.", watch(ann, tom), ann, tom, "unknown", nothing},
		{"Ann is available.", publish(ann, aa.StatusAvailable, ""), tom, ann, "available, Available", nothing},
		{"So is Tom.", publish(tom, aa.StatusAvailable, ""), ann, tom, "available, Available", nothing},
		{"Tom needs quiet.", publish(tom, aa.StatusBusy, "Writing the report"), ann, tom, "busy, Writing the report", nothing},
		{"The report is done.", publish(tom, aa.StatusAvailable, ""), ann, tom, "available, Available", nothing},
		{"Tom's telephone rings.", telephone(aa.LineRinging), ann, tom, "available, Available (telephone 2719: ringing)", nothing},
		{"He takes the call.", telephone(aa.LineBusy), ann, tom, "busy, In a call (telephone 2719: busy)", nothing},
		{"It is over.", telephone(aa.LineIdle), ann, tom, "available, Available (telephone 2719: idle)", nothing},
		{"Tom's calendar has a meeting in two seconds. It begins by itself:", meeting, ann, tom, "busy, In a meeting (telephone 2719: idle)", explain},
		{"And it ends by itself:", nothing, ann, tom, "available, Available (telephone 2719: idle)", nothing},
		{"Ann's machine crashes. As soon as it does not answer a NOTIFY:", crash, tom, ann, "signed out, Signed out", nothing},
	} {
		fmt.Fprintf(out, "\n%s\n", moment.what)
		if err := moment.do(); err != nil {
			return err
		}
		if err := moment.who.sees(ctx, moment.of, moment.sees); err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s sees that %s is %s\n", moment.who.name, moment.of.name, moment.sees)
		if err := moment.whatElse(); err != nil {
			return err
		}
	}

	fmt.Fprintln(out, "\nTom signs out, the last one.")
	if err := tom.Close(ctx); err != nil {
		return err
	}
	view, err := server.Presence(ctx, tom.address)
	if err != nil {
		return err
	}
	left := server.Stats()
	fmt.Fprintf(out, "  The server says that Tom is %s; %d clients and %d subscriptions are left.\n",
		view.Result.Status, left.Clients, left.Subscriptions)
	if view.Result.Status != consolidation.StatusSignedOut || left.Clients > 0 || left.Subscriptions > 0 {
		return errors.New("somebody is still there")
	}
	return nil
}
