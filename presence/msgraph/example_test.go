package msgraph_test

import (
	"context"
	"log"
	"log/slog"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

// One application for calendars and for Teams.
func ExampleNew() {
	app, err := msgraph.New(msgraph.Config{
		Tenant: "contoso.example", ClientID: "22553876-f5ab-4529-bffb-cfe50aa89f87",
		CertificateFile: "/etc/blustar/graph.pem", // with its key
	})
	if err != nil {
		log.Fatal(err)
	}
	calendar, err := app.NewCalendar(msgraph.CalendarConfig{})
	if err != nil {
		log.Fatal(err)
	}
	teams, err := app.NewTeams(msgraph.TeamsConfig{
		// Who does not work is not away, but says nothing.
		Table: append([]msgraph.Row{{Availability: "Offline", Activity: "OffWork"}}, msgraph.DefaultTable()...),
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = presence.Config{Calendar: calendar, External: teams}
}

// lines is a monitor of lines that also tells a Writer of each state. The lines that are written
// are those that the host has monitored, be they watched or not.
type lines struct {
	presence.LineMonitor
	writer *msgraph.Writer
	owner  func(dn string) directory.Entry
}

// MonitorLine implements presence.LineMonitor.
func (l lines) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	defer l.writer.SetLine(l.owner(dn), dn, presence.LineState{State: aa.LineUnknown})
	return l.LineMonitor.MonitorLine(ctx, dn, func(state presence.LineState) {
		l.writer.SetLine(l.owner(dn), dn, state)
		update(state)
	})
}

// What a PBX says of lines is shown in Teams.
func ExampleWriter() {
	app, err := msgraph.New(msgraph.Config{Tenant: "contoso.example", ClientID: "22553876-f5ab-4529-bffb-cfe50aa89f87", SecretFile: "graph.secret"})
	if err != nil {
		log.Fatal(err)
	}
	teams, err := app.NewTeams(msgraph.TeamsConfig{})
	if err != nil {
		log.Fatal(err)
	}
	writer, err := teams.NewWriter(msgraph.WriterConfig{})
	if err != nil {
		log.Fatal(err)
	}
	go func() { slog.Info("lines are not written any more", "error", writer.Serve(context.Background())) }()

	var pbx presence.LineMonitor // the host's, or a dialoginfo.Monitor
	owner := func(dn string) directory.Entry { return directory.Entry{ID: dn, Mail: dn + "@contoso.example"} }
	_ = presence.Config{External: teams, Lines: lines{pbx, writer, owner}}
}
