package ews

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/pidf/aa"
)

// recordings are answers of real servers, and published ones. They are not ours to pass on.
const recordings = "../../../shared/exchange/responses"

// recorded returns a recording; that of HTTP as a response.
func recorded(t *testing.T, name string) ([]byte, *http.Response) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the recorded answers are not here: " + recordings)
	}
	require.NoError(t, err)
	if !strings.HasSuffix(name, ".http") {
		return data, nil
	}
	head, body, ok := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n\n")
	require.True(t, ok)
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n")+"\r\nConnection: close\r\n\r\n"+body)), nil)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	data, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	return data, resp
}

// decode reads one answer as a server's is read: with the error that it is or has.
func decode(data []byte) (*response, error) {
	r, err := decodeAnswer(newDecoder(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	for i := range r.Several.Messages {
		if err := r.Several.Messages[i].err(); err != nil {
			return r, err
		}
	}
	if r.Message != nil {
		return r, r.Message.err()
	}
	return r, nil
}

var plainStyle = style{elsewhere: aa.CalendarFree, online: "Online meeting"}

// TestRecordedErrors: BSX-15, an answer that says no is understood, whatever its shape.
func TestRecordedErrors(t *testing.T) {
	tests := []struct {
		file, code string
		meaning    meaning
		backOff    time.Duration
		is         error
	}{
		{"ews-error-text-in-german.xml", "ErrorNameResolutionNoResults", passing, 0, nil},
		{"ews-fault-impersonate-user-denied.xml", "ErrorImpersonateUserDenied", notImpersonated, 0, ErrNoAccess},
		{"ews-fault-nonexistent-mailbox.xml", "ErrorNonExistentMailbox", noMailbox, 0, ErrNoMailbox},
		{"ews-fault-schema-validation.xml", "ErrorSchemaValidation", ourFault, 0, nil},
		{"ews-fault-server-busy-backoff.xml", "ErrorServerBusy", busy, 297749 * time.Millisecond, nil},
		{"ews-finditem-error-mailbox-move.xml", "ErrorMailboxMoveInProgress", moving, 0, nil},
		{"ews-oof-fault-not-mailbox-owner.xml", "Client", passing, 0, nil},
		{"ews-stream-error-subscription-not-found.xml", "ErrorSubscriptionNotFound", subscriptionGone, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			data, _ := recorded(t, tt.file)
			_, err := decode(data)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.code, e.Code)
			require.Equal(t, tt.meaning, meaningOf(err))
			require.Equal(t, tt.backOff, e.BackOff)
			require.NotEmpty(t, e.Text)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
		})
	}
	t.Run("which subscription", func(t *testing.T) {
		data, _ := recorded(t, "ews-stream-error-subscription-not-found.xml")
		_, err := decode(data)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []string{"SUB2="}, e.subscriptions)
	})
	t.Run("where the request was wrong", func(t *testing.T) {
		data, _ := recorded(t, "ews-fault-schema-validation.xml")
		_, err := decode(data)
		require.ErrorContains(t, err, "line 123, position 456")
	})
	t.Run("not well-formed", func(t *testing.T) {
		data, _ := recorded(t, "ews-envelope-without-body.xml")
		_, err := decode(data)
		require.ErrorIs(t, err, ErrAnswer)
	})
}

// TestRecordedFindItem: BSX-15, BSP-2.6-1.
func TestRecordedFindItem(t *testing.T) {
	read := func(t *testing.T, file string) (list []aa.Appointment, f *rootFolder) {
		data, _ := recorded(t, file)
		r, err := decode(data)
		require.NoError(t, err)
		require.Equal(t, "FindItemResponse", r.XMLName.Local)
		require.Len(t, r.Several.Messages, 1)
		f = r.Several.Messages[0].Folder
		for i := range f.Items {
			a, counts, err := plainStyle.appointment(&f.Items[i])
			require.NoError(t, err)
			if counts {
				list = append(list, a)
			}
		}
		return list, f
	}
	t.Run("all states", func(t *testing.T) {
		list, f := read(t, "ews-finditem-all-states.xml")
		at := func(hour int) time.Time { return time.Date(2026, 11, 26, hour, 0, 0, 0, time.UTC) }
		require.Equal(t, []aa.Appointment{
			{ID: "F=", State: aa.CalendarFree, Subject: "Lunch", From: at(11), End: at(12)},
			{ID: "T=", State: aa.CalendarTentative, Subject: "Maybe & more", Location: "Room 1", From: at(12), End: at(13)},
			{ID: "B=", State: aa.CalendarBusy, Subject: "Blustar Study", Location: "Room 1", From: at(10), End: at(12), Private: true},
			{ID: "O=", State: aa.CalendarOutOfOffice, Subject: "Holiday", From: at(-1), End: at(47), AllDay: true},
			{ID: "W=", State: aa.CalendarFree, Subject: "Home office", Location: "Home", From: at(7), End: at(16), Private: true},
			{ID: "N=", State: aa.CalendarUnknown, From: at(14), End: at(15)},
		}, list)
		require.Equal(t, "true", f.HasAll)
	})
	t.Run("first 5 of 33", func(t *testing.T) {
		list, f := read(t, "ews-finditem-calendarview-first-5-of-33.xml")
		require.Len(t, list, 5)
		require.Equal(t, "false", f.HasAll)
		require.Equal(t, "Lunch with sales team", list[2].Subject)
		require.Equal(t, time.Date(2013, 8, 21, 21, 30, 0, 0, time.UTC), list[2].From)
	})
	t.Run("empty", func(t *testing.T) {
		list, f := read(t, "ews-finditem-empty.xml")
		require.Empty(t, list)
		require.Equal(t, "true", f.HasAll)
	})
	t.Run("characters that XML has not", func(t *testing.T) {
		data, _ := recorded(t, "ews-getitem-illegal-characters.xml")
		r, err := decode(data)
		require.NoError(t, err)
		require.Equal(t, "GetItemResponse", r.XMLName.Local)
	})
}

// TestRecordedAvailability: BSX-15.
func TestRecordedAvailability(t *testing.T) {
	read := func(t *testing.T, file string) []freeBusyResponse {
		data, _ := recorded(t, file)
		r, err := decode(data)
		require.NoError(t, err)
		return r.FreeBusy
	}
	a := availability{server: &server{cfg: &Config{}}, style: &plainStyle}
	two := read(t, "ews-availability-detailedmerged-two-users.xml")
	require.Len(t, two, 2)
	list, err := a.read(&two[0], "")
	require.NoError(t, err)
	require.Equal(t, "Meet with Contoso Account Executives", list[0].Subject)
	require.Equal(t, time.Date(2006, 10, 16, 13, 0, 0, 0, time.UTC), list[0].From)
	require.Equal(t, "Kirkland", list[2].Location)
	second, err := a.read(&two[1], "")
	require.NoError(t, err)
	require.NotEmpty(t, second)

	list, err = a.read(&read(t, "ews-availability-no-events.xml")[0], "")
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = a.read(&read(t, "ews-availability-error-invalid-smtp-address.xml")[0], "foobar")
	require.ErrorIs(t, err, ErrNoMailbox)
}

// TestRecordedOof: what is there of an absence that is over does not count.
func TestRecordedOof(t *testing.T) {
	data, _ := recorded(t, "ews-oof-disabled-with-old-duration.xml")
	r, err := decode(data)
	require.NoError(t, err)
	_, out, err := r.Oof.when()
	require.NoError(t, err)
	require.False(t, out)
}

// TestRecordedStreams: an envelope after another, whatever its prefixes.
func TestRecordedStreams(t *testing.T) {
	messages := func(t *testing.T, file string) (all []message) {
		data, _ := recorded(t, file)
		d := newDecoder(&oneByte{bytes.NewReader(data)})
		for {
			r, err := decodeAnswer(d)
			if err == io.EOF {
				return all
			}
			require.NoError(t, err)
			all = append(all, r.Several.Messages...)
		}
	}
	wire := messages(t, "ews-stream-on-the-wire.txt")
	require.Len(t, wire, 5)
	require.Equal(t, "OK", wire[0].Connection)
	require.False(t, wire[1].Notifications[0].changed(), "StatusEvent")
	require.Equal(t, "OK", wire[2].Connection)
	require.True(t, wire[3].Notifications[0].changed())
	require.Equal(t, "SUB1=", wire[3].Notifications[0].Subscription)
	require.Equal(t, "Closed", wire[4].Connection)

	require.Equal(t, "Closed", messages(t, "ews-stream-closed.xml")[0].Connection)
	require.True(t, messages(t, "ews-stream-notification.xml")[0].Notifications[0].changed())
	two := messages(t, "ews-stream-two-subscriptions.xml")[0].Notifications
	require.Len(t, two, 2)
	require.Equal(t, []string{"SUB1=", "SUB2="}, []string{two[0].Subscription, two[1].Subscription})
	require.True(t, two[0].changed() && two[1].changed())
}

type oneByte struct{ from io.Reader }

func (o *oneByte) Read(p []byte) (int, error) { return o.from.Read(p[:min(1, len(p))]) }

// TestRecordedHTTP: what is no answer of EWS is an error.
func TestRecordedHTTP(t *testing.T) {
	_, resp := recorded(t, "ews-401-challenges.http")
	challenge, offered := challengeOf(resp.Header, "NTLM")
	require.Nil(t, challenge)
	require.Equal(t, "NTLM", offered)

	_, resp = recorded(t, "ews-503-retry-after.http")
	require.Equal(t, 120*time.Second, backoff.RetryAfter(resp.Header.Get("Retry-After"), time.Now()))
	require.False(t, isXML(resp))

	for _, file := range []string{"ews-302-genericerrorpage.http", "ews-500-server-error-html.http"} {
		data, resp := recorded(t, file)
		require.False(t, isXML(resp))
		_, err := decode(data)
		require.ErrorIs(t, err, ErrAnswer)
	}

	data, resp := recorded(t, "ews-subscribe-affinity-anchor.http")
	r, err := decode(data)
	require.NoError(t, err)
	require.Equal(t, "JgBjbzFwcjA2bWIyMjIubmFtcHJkMDYucHJvZC5vdXRsb29rLmNvbRAAAAAUeGk+7JFdSaFM8/NI/gQQpVdgZX6H0Ag=", subscriptionIn(r))
	var a affinity
	a.learn(resp)
	header := make(http.Header)
	a.add(header)
	require.Equal(t, "X-BackEndOverrideCookie=CO1PR06MB222.namprd06.prod.outlook.com~1941996295", header.Get("Cookie"))
}

// TestRecordedAutodiscover: the address is taken, and an error in a 200 is one.
func TestRecordedAutodiscover(t *testing.T) {
	read := func(t *testing.T, file string) (location, error) {
		data, _ := recorded(t, file)
		var s settings
		require.NoError(t, newDecoder(bytes.NewReader(data)).Decode(&s))
		m, err := New(Config{Autodiscover: []string{"contoso.com"}, Credentials: PasswordFile("svc", "none")})
		require.NoError(t, err)
		d := discovery{monitor: m, seen: map[string]bool{"elvin@mail.contoso.com": true}}
		return d.read(t.Context(), &s, "mara@contoso.com")
	}
	l, err := read(t, "autodiscover-pox-settings.xml")
	require.NoError(t, err)
	require.Equal(t, "https://mail.contoso.com/EWS/Exchange.asmx", l.url.String())
	_, err = read(t, "autodiscover-pox-error-500.xml")
	require.ErrorIs(t, err, ErrNoMailbox)
	require.ErrorContains(t, err, "500")
	_, err = read(t, "autodiscover-pox-redirectaddr.xml")
	require.ErrorContains(t, err, "elvin@mail.contoso.com", "the other address was asked for, as this test says, before")
}
