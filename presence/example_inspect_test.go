package presence_test

import (
	"context"
	"fmt"
	"log"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// small is a server with one user, Tom, whom nobody watches.
func small() *presence.Server {
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", DisplayName: "Tom Hanks", SIP: []string{"tom@example.com"}, Lines: []string{"2719"}, Mail: "tom@example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	server, err := presence.New(presence.Config{Sender: new(sipxtest.NullSender), Directory: users}) // a stack, usually
	if err != nil {
		log.Fatal(err)
	}
	return server
}

// Why is Tom busy? Every source says what it says, and which one won.
func ExampleServer_Explain() {
	server, ctx := small(), context.Background()
	defer server.Shutdown(ctx)
	_ = server.Feed().SetLine(ctx, "2719", presence.LineState{State: aa.LineBusy})
	_ = server.Feed().SetExternal(ctx, "sip:tom@example.com", presence.ExternalState{Status: aa.StatusAway})

	why, err := server.Explain(ctx, "sip:tom@example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(why.Status, "by the rule", why.Rule)
	for _, c := range why.Claims {
		fmt.Println(c.Source, "says", c.Value, c.Won)
	}
	// Output:
	// busy by the rule call
	// blustar says signed out false
	// line 2719 says busy true
	// external says away false
}

// What a host knows it tells the feed, whether somebody watches or not.
func ExampleFeed() {
	server, ctx := small(), context.Background()
	defer server.Shutdown(ctx)
	feed := server.Feed()
	if err := feed.SetLine(ctx, "2719", presence.LineState{State: aa.LineBusy, Forward: "6894"}); err != nil {
		log.Fatal(err)
	}
	view, _ := server.Presence(ctx, "sip:tom@example.com")
	fmt.Println(view.Result.Status, view.Result.Note)
	_ = feed.SetLine(ctx, "2719", presence.LineState{State: aa.LineIdle})
	view, _ = server.Presence(ctx, "sip:tom@example.com")
	fmt.Println(view.Result.Status)
	// Output:
	// busy In a call
	// signed out
}

// meetings is the host's calendar system: who meets now.
type meetings map[string]aa.Appointment

// MonitorCalendar implements presence.CalendarMonitor.
func (m meetings) MonitorCalendar(ctx context.Context, mail string, update func(presence.CalendarState)) error {
	update(presence.CalendarState{Appointments: []aa.Appointment{m[mail]}})
	<-ctx.Done() // a real one waits for changes, and tells them
	return nil
}

// A calendar system is a CalendarMonitor in Config.Calendars. It is called for a mailbox while
// somebody watches its user; an error has it called again later.
func ExampleCalendarMonitor() {
	var m presence.CalendarMonitor = meetings{"tom@example.com": {ID: "1", State: aa.CalendarBusy, Subject: "Review"}}
	ctx, cancel := context.WithCancel(context.Background())
	err := m.MonitorCalendar(ctx, "tom@example.com", func(s presence.CalendarState) {
		fmt.Println(s.Appointments[0].Subject, s.Appointments[0].State)
		cancel() // nobody watches any more
	})
	fmt.Println(err)
	// Output:
	// Review busy
	// <nil>
}

// chat is another presence system of the host: the status of each user.
type chat map[string]aa.Status

// MonitorExternal implements presence.ExternalMonitor.
func (c chat) MonitorExternal(ctx context.Context, user directory.Entry, update func(presence.ExternalState)) error {
	update(presence.ExternalState{Status: c[user.ID], FreeText: "by chat"})
	<-ctx.Done()
	return nil
}

// Another presence system is an ExternalMonitor in Config.External.
func ExampleExternalMonitor() {
	var m presence.ExternalMonitor = chat{"tom": aa.StatusAway}
	ctx, cancel := context.WithCancel(context.Background())
	_ = m.MonitorExternal(ctx, directory.Entry{ID: "tom"}, func(s presence.ExternalState) {
		fmt.Println(s.Status, s.FreeText)
		cancel()
	})
	// Output: away by chat
}
