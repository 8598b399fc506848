package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
)

func TestSummary(t *testing.T) {
	const head = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:a@b">`
	tests := []struct{ name, body, want string }{
		{"other", `<dm:person id="p"><rpid:activities><rpid:note>Out</rpid:note><rpid:other>signed out</rpid:other></rpid:activities></dm:person>`, `sip:a@b signed out "Out"`},
		{"empty other", `<dm:person id="p"><rpid:activities><rpid:other/></rpid:activities></dm:person>`, `sip:a@b other`},
		{"activity", `<dm:person id="p"><rpid:activities><rpid:on-the-phone/></rpid:activities><dm:note>later</dm:note></dm:person>`, `sip:a@b on-the-phone "later"`},
		{"second person", `<dm:person id="p"/><dm:person id="q"><rpid:activities><rpid:busy/></rpid:activities></dm:person>`, `sip:a@b busy`},
		{"open", `<tuple id="x"><status><basic>open</basic></status></tuple><note>hi</note>`, `sip:a@b available "hi" services x`},
		{"closed", `<tuple id="x"><status><basic>closed</basic></status></tuple>`, `sip:a@b signed out`},
		{"nothing", ``, `sip:a@b unknown`},
		{"control characters", `<note>a&#x9;&#x202e;b"c</note>`, `sip:a@b unknown "a\t\u202eb\"c"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := aa.Decode([]byte(head + tt.body + `</presence>`))
			require.NoError(t, err)
			require.Equal(t, tt.want, client.Notification{Entity: p.Entity, Presence: p}.Summary().String())
		})
	}
	ended := client.Notification{Entity: "sip:a@b", State: client.Terminated}
	require.Equal(t, "sip:a@b ended: no reason given", ended.Summary().String())
	ended.Reason = "deactivated\x1b[2J"
	require.Equal(t, "sip:a@b ended: deactivated?[2J", ended.Summary().String())
	ended.Err = errors.New("gone")
	require.Equal(t, "sip:a@b ended: gone", ended.Summary().String())
}

// A slow reader misses states in between, never the newest one.
func TestNotifications(t *testing.T) {
	keepQueue := func(cfg *client.Config) { cfg.Notify = nil }
	run(t, keepQueue, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		own, list := s.open()
		for i := range 1000 {
			s.notify(list, "active", busy(ann, fmt.Sprint(i)))
			s.notify(own, "active", busy(tom, fmt.Sprint(i)))
			synctest.Wait()
		}
		s.notify(list, "terminated;reason=rejected", "")
		synctest.Wait()

		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		for n := range c.Notifications(ctx) {
			if got = append(got, n.Summary().Note+n.Reason); len(got) == 3 {
				break
			}
		}
		require.Equal(t, []string{"999", "999", "rejected"}, got)

		// It waits for more, until its context ends.
		time.AfterFunc(time.Second, func() { s.notify(own, "active", busy(tom, "more")) })
		time.AfterFunc(2*time.Second, cancel)
		got = nil
		for n := range c.Notifications(ctx) {
			got = append(got, n.Summary().Note)
		}
		require.Equal(t, []string{"more"}, got)
	})
}

// Close lets a loop take what is left, and ends it.
func TestNotificationsEndWithTheClient(t *testing.T) {
	keepQueue := func(cfg *client.Config) { cfg.Notify = nil }
	run(t, keepQueue, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.SignIn(t.Context()))
		synctest.Wait()
		require.NoError(t, c.Watch(t.Context(), ann))
		synctest.Wait()
		require.NoError(t, c.Close(t.Context()))
		var got []string
		for n := range c.Notifications(t.Context()) {
			got = append(got, n.Entity+" "+string(n.State))
		}
		require.Equal(t, []string{tom + " active", ann + " active", "sip:rls@example.com terminated", tom + " terminated"}, got)
		for range c.Notifications(t.Context()) {
			t.Fatal("there is nothing left")
		}
	})
}
