package msgraph_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/presence/msgraph"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

var staff = map[string]directory.Entry{
	"sip:tom@contoso.example": {ID: "1", Account: "tom", SIP: []string{"tom@contoso.example"}, Mail: tomMail},
	"sip:ann@contoso.example": {ID: "2", Account: "ann", SIP: []string{"ann@contoso.example"}},
}

// TestDay: BSX-15, what a watcher sees of a user in Teams and Exchange Online, through a presence
// server: a call within 15 seconds, an appointment within a poll; all of it fades within the grace
// time when Graph dies, and comes back.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		s.SetPresence(tom, "Available", "Available")
		app := newApp(t, config(t, s))
		teams, err := app.NewTeams(msgraph.TeamsConfig{})
		require.NoError(t, err)
		calendar, err := app.NewCalendar(msgraph.CalendarConfig{})
		require.NoError(t, err)
		network := sipxtest.NewNetwork(sipxtest.Config{})
		stack, phone := network.NewStack("192.0.2.1:5060"), network.NewStack("192.0.2.7:5060")
		guard, err := auth.New(auth.Config{Verifier: auth.VerifierFunc(func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
			return auth.Identity{Account: c.Name.User}, nil
		})})
		require.NoError(t, err)
		server, err := presence.New(presence.Config{
			Sender: stack, Guard: guard, Domains: []string{"contoso.example"}, Calendar: calendar, External: teams,
			Directory: directory.Func(func(_ context.Context, a directory.Address) (directory.Entry, error) {
				if entry, ok := staff[a.String()]; ok {
					return entry, nil
				}
				return directory.Entry{}, directory.ErrNotFound
			}),
		})
		require.NoError(t, err)
		serving, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = stack.Serve(serving, server) })

		credentials, err := auth.NewCredentials("ann", []byte("secret"))
		require.NoError(t, err)
		bss, err := sipx.ParseAddress(stack.Contact(sipx.Flow{}))
		require.NoError(t, err)
		ann, err := client.New(client.Config{Sender: phone, Server: bss.URI, Address: "sip:ann@contoso.example", Credentials: credentials})
		require.NoError(t, err)
		running.Go(func() { _ = phone.Serve(serving, ann) })
		require.NoError(t, ann.Watch(t.Context(), "sip:tom@contoso.example"))
		var mu sync.Mutex
		var seen client.Summary
		running.Go(func() {
			for n := range ann.Notifications(serving) {
				mu.Lock()
				seen = n.Summary()
				mu.Unlock()
			}
		})
		sees := func(within time.Duration, status, note string) {
			t.Helper()
			time.Sleep(within)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, []string{status, note}, []string{seen.Status, seen.Note})
		}

		sees(5*time.Second, "available", "Available")
		s.SetPresence(tom, "Busy", "InACall")
		sees(15*time.Second, "busy", "In a call")
		s.SetPresence(tom, "Available", "Available")
		sees(15*time.Second, "available", "Available")
		s.SetEvents(tom, in("review", 0))
		sees(80*time.Second, "busy", "In a meeting")
		s.SetEvents(tom)
		s.SetPresence(tom, "Busy", "InACall")
		sees(80*time.Second, "busy", "In a call")

		s.Intercept(status(http.StatusBadGateway))
		sees(time.Minute, "signed out", "Signed out")
		sees(20*time.Minute, "signed out", "Signed out")
		s.Intercept(nil)
		sees(80*time.Second, "busy", "In a call")

		require.NoError(t, ann.Close(t.Context()))
		require.NoError(t, server.Shutdown(t.Context()))
		require.NoError(t, stack.Shutdown(t.Context()))
		require.NoError(t, phone.Shutdown(t.Context()))
		stop()
		running.Wait()
	})
}
