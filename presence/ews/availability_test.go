package ews_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/ews"
)

// TestDelegation: without impersonation the mailbox is named, and polled.
func TestDelegation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Add(tom, in("a", time.Hour))
		cfg := config(e.Serve(t))
		cfg.Access = ews.Delegation
		w := start(t, monitor(t, cfg), tom)
		require.Equal(t, []string{"a"}, w.ids())
		e.Change(tom, func(b *fakeews.Mailbox) { b.Items = nil })
		passes(80 * time.Second)
		require.Empty(t, w.ids())
		for _, q := range e.Requests() {
			require.Equal(t, "FindItem", q.Operation)
			require.Empty(t, q.As)
			require.Equal(t, tom, q.Anchor)
		}
		w.stop()
	})
}

// TestAvailability: BSX-15, one request for many mailboxes, without impersonation; what is wrong with one mailbox is
// only that one's.
func TestAvailability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		cfg := config(e.Serve(t))
		cfg.Access = ews.Availability
		m := monitor(t, cfg)
		meeting := in("", 0)
		meeting.Subject, meeting.Location, meeting.Status = "Plan", "R1", "OOF"
		private := in("", 2*time.Hour)
		private.Subject, private.Sensitivity = "Doctor", "Private"
		var all []*watch
		for i := range 130 {
			mail := fmt.Sprintf("user%d@example.com", i)
			b := e.Add(mail, meeting, private)
			switch i {
			case 1:
				b.FreeBusyOnly = true
			case 2:
				b.Fails = "ErrorNoFreeBusyAccess"
			}
			all = append(all, start(t, m, mail))
		}
		passes(3 * time.Second)
		asked := e.Requests()
		require.Len(t, asked, 2, "130 mailboxes")
		require.Empty(t, asked[0].As)
		require.Empty(t, asked[0].Anchor)
		for i, w := range all {
			if i == 2 {
				require.ErrorIs(t, w.err, ews.ErrNoAccess)
				require.ErrorContains(t, w.err, "user2@example.com")
				continue
			}
			got := w.last().Appointments
			require.Len(t, got, 2)
			want := []aa.Appointment{
				{ID: got[0].ID, State: aa.CalendarOutOfOffice, Subject: "Plan", Location: "R1", From: meeting.From.UTC(), End: meeting.To.UTC()},
				{ID: got[1].ID, State: aa.CalendarBusy, From: private.From.UTC(), End: private.To.UTC(), Private: true},
			}
			if i == 1 { // it shows times only
				want[0].Subject, want[0].Location, want[1].Private = "", "", false
			}
			require.Equal(t, want, got)
			require.NotEqual(t, got[0].ID, got[1].ID)
		}
		passes(10 * time.Minute)
		require.LessOrEqual(t, len(e.Requests()), 300, "one in 2 s, however many there are")
		for _, w := range all {
			w.stop()
		}
	})
}

// TestSpoiledBatch: where one mailbox spoils the whole request, or the answer is not for all, the others are not lost.
func TestSpoiledBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		cfg := config(e.Serve(t))
		cfg.Access = ews.Availability
		m := monitor(t, cfg)
		e.Intercept(func(w http.ResponseWriter, _ *http.Request, q *fakeews.Request) bool {
			if strings.Contains(q.Body, "user3@") {
				fakeews.Fault(w, "ErrorInvalidSmtpAddress", "")
				return true
			}
			return false
		})
		var all []*watch
		for i := range 10 {
			mail := fmt.Sprintf("user%d@example.com", i)
			e.Add(mail, in("", 0))
			all = append(all, start(t, m, mail))
		}
		passes(10 * time.Second)
		require.LessOrEqual(t, len(e.Requests()), 10)
		for i, w := range all {
			if i == 3 {
				require.ErrorIs(t, w.err, ews.ErrNoMailbox)
				continue
			}
			require.Len(t, w.last().Appointments, 1)
			w.stop()
		}

		e.Intercept(func(w http.ResponseWriter, _ *http.Request, _ *fakeews.Request) bool {
			fakeews.Envelope(w, `<m:GetUserAvailabilityResponse><m:FreeBusyResponseArray></m:FreeBusyResponseArray></m:GetUserAvailabilityResponse>`)
			return true
		})
		w := start(t, m, "user1@example.com")
		passes(5 * time.Second)
		require.ErrorIs(t, w.err, ews.ErrAnswer, "never an empty calendar")
	})
}
