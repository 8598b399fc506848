package client_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
)

// BSP-2.4-3, BSP-2.4-4: the first PUBLISH may be ignored, so the entity-tag that
// it is given is used to say it again.
func TestPublish(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{
			Status: aa.StatusBusy, Note: "HELLO", Audio: pidf.Open, Video: pidf.Closed, Message: pidf.Open,
		}))
		sent := s.seen("")
		require.Len(t, sent, 2)
		for i, r := range sent {
			require.Equal(t, "PUBLISH", r.Method)
			require.Equal(t, tom, r.To.URI.String())
			require.Equal(t, "presence", r.Header.Get("Event"))
			require.Equal(t, "3600", r.Header.Get("Expires"), "BSP-4.3-4: mandatory")
			require.Equal(t, "<sip:tom@192.0.2.7:5060>", r.Header.Get("Contact"), "BSP-4.3-4: mandatory")
			require.Equal(t, []string{"", "18762"}[i], r.Header.Get("SIP-If-Match"))

			doc, err := aa.Decode(r.Body)
			require.NoError(t, err)
			require.Equal(t, tom, doc.Entity)
			require.Len(t, doc.Tuples, 3)
			said := aa.PresenceOf(&doc.Persons[0]).BluStar
			require.Equal(t, aa.StatusBusy, said.Status)
			require.Equal(t, "HELLO", said.Note.Text)
			require.Equal(t, "Eng", said.Note.Lang)
			require.WithinDuration(t, time.Now(), said.Timestamp, time.Second)
		}
		require.Greater(t, sent[1].CSeq, sent[0].CSeq)

		// A change is one PUBLISH; without a note it carries the empty one
		// (BSP-4.3-3), and without services none.
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		sent = s.seen("")
		require.Len(t, sent, 1)
		require.Contains(t, string(sent[0].Body), `<aa:note xml:lang="Eng"/>`)
		require.Contains(t, string(sent[0].Body), `<aa:status>available</aa:status>`)
		require.NotContains(t, string(sent[0].Body), "<tuple")
	})
}

func TestPublishAsDefault(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{AsDefault: true}))
		require.Len(t, s.seen(""), 1)
	})
}

// BSP-2.8-1: a refresh has the entity-tag and no body.
func TestPublicationIsRefreshed(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}))
		s.seen("")
		for range 10 {
			time.Sleep(3600 * 3 / 4 * time.Second)
			sent := s.seen("")
			if len(sent) == 0 { // jitter
				time.Sleep(3600 / 20 * time.Second)
				sent = s.seen("")
			}
			require.Len(t, sent, 1)
			require.Empty(t, sent[0].Body)
			require.Empty(t, sent[0].Header.Get("Content-Type"))
			require.Equal(t, "18762", sent[0].Header.Get("SIP-If-Match"))
			time.Sleep(time.Until(time.Now().Truncate(time.Second)))
		}
	})
}

// BSP-2.4-5: 412 means that the server has lost the publication.
func TestLostPublicationIsMadeAgain(t *testing.T) {
	lost := func(req *sipx.Request) *sipx.Response {
		if req.Header.Get("SIP-If-Match") == "18762" {
			return sipx.NewResponse(412)
		}
		return sipx.NewResponse(200, field("SIP-ETag", "2"), field("Expires", "3600"))
	}
	t.Run("in a refresh", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
			require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}))
			s.seen("")
			s.play(lost)
			time.Sleep(3600 * 8 / 10 * time.Second)
			sent := s.seen("")
			require.Len(t, sent, 2)
			require.Empty(t, sent[1].Header.Get("SIP-If-Match"))
			require.Contains(t, string(sent[1].Body), "busy")
			require.NoError(t, c.SignOut(t.Context()))
			require.Equal(t, "2", s.seen("")[0].Header.Get("SIP-If-Match"))
		})
	})
	t.Run("in a change", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
			require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}))
			s.seen("")
			s.play(lost)
			require.NoError(t, c.Publish(t.Context(), client.Publication{Status: aa.StatusAway}))
			sent := s.seen("")
			require.Len(t, sent, 3, "412, the first, and once more with the new tag")
			require.Equal(t, "2", sent[2].Header.Get("SIP-If-Match"))
		})
	})
	t.Run("for ever", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
			s.play(status("PUBLISH", 412))
			require.ErrorContains(t, c.Publish(t.Context(), client.Publication{}), "412")
			require.LessOrEqual(t, len(s.seen("")), 6)
		})
	})
}

func TestPublicationThatTheServerRefuses(t *testing.T) {
	var lost chan error
	change := func(cfg *client.Config) {
		lost = make(chan error, 1)
		cfg.PublicationLost = func(err error) { lost <- err }
	}
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		s.play(status("PUBLISH", 403))
		require.ErrorContains(t, c.Publish(t.Context(), client.Publication{}), "403")
		s.play(nil)
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		s.play(status("PUBLISH", 403))
		started := time.Now()
		require.ErrorContains(t, <-lost, "403")
		require.Less(t, time.Since(started), time.Hour)
		s.seen("")
		time.Sleep(10 * time.Hour)
		require.Empty(t, s.seen(""), "it is given up")
	})
}

func TestRefreshThatFailsIsTriedAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		s.seen("")
		s.play(status("PUBLISH", 503, field("Retry-After", "100")))
		var failures, first = 0, 0
		for second := range 4000 {
			time.Sleep(time.Second)
			if n := len(s.seen("")); n > 0 {
				if failures == 0 {
					first = second
				}
				failures += n
			}
		}
		require.InDelta(t, 3600*3/4, first, 3600/20+1)
		require.LessOrEqual(t, failures, (4000-first)/100+1)
		require.Greater(t, failures, 4)
		s.play(nil)
		time.Sleep(6 * time.Minute)
		require.NotEmpty(t, s.seen(""))
	})
}

// BSP-4.3-6.
func TestForward(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		s.seen("")
		require.NoError(t, c.Forward(t.Context(), "sip:sean.connery@example.com"))
		sent := s.seen("")
		require.Len(t, sent, 1)
		require.Equal(t, "lyncforwarding", sent[0].Header.Get("Event"))
		require.Equal(t, "sip:sean.connery@example.com", sent[0].To.URI.String())
		require.Equal(t, tom, sent[0].From.URI.String())
		require.Equal(t, "3600", sent[0].Header.Get("Expires"))
		require.Equal(t, "18762", sent[0].Header.Get("SIP-If-Match"))
		require.Empty(t, sent[0].Body)

		time.Sleep(time.Hour)
		var refreshed []string
		for _, r := range s.seen("") {
			refreshed = append(refreshed, r.Header.Get("Event"))
		}
		require.ElementsMatch(t, []string{"presence", "lyncforwarding"}, refreshed)

		require.NoError(t, c.CancelForward(t.Context()))
		sent = s.seen("")
		require.Len(t, sent, 1)
		require.Equal(t, "0", sent[0].Header.Get("Expires"))
		require.Equal(t, tom, sent[0].To.URI.String())
		time.Sleep(time.Hour)
		for _, r := range s.seen("") {
			require.Equal(t, "presence", r.Header.Get("Event"))
		}

		s.play(status("PUBLISH", 489))
		require.ErrorContains(t, c.Forward(t.Context(), "tel:200"), "489")
		require.Error(t, c.Forward(t.Context(), "mailto:a@b"))
	})
}

func TestForwardWithAForgottenEntityTag(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		s.seen("")
		s.play(func(req *sipx.Request) *sipx.Response {
			if req.Header.Get("SIP-If-Match") != "" {
				return sipx.NewResponse(412)
			}
			return nil
		})
		require.NoError(t, c.Forward(t.Context(), "tel:200"))
		require.Len(t, s.seen(""), 2)
	})
}

// RFC 3903 §4.1 and RFC 4480: what a client publishes in the other dialect.
func TestStandardPublication(t *testing.T) {
	change := func(cfg *client.Config) { cfg.Standard = true }
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		etag := 0
		s.play(func(*sipx.Request) *sipx.Response {
			etag++
			return sipx.NewResponse(200, field("SIP-ETag", strconv.Itoa(etag)), field("Expires", "3600"))
		})
		for status, want := range map[aa.Status]string{
			aa.StatusAvailable:    "<rpid:other>available</rpid:other>",
			aa.StatusBusy:         "<rpid:busy/>",
			aa.StatusAway:         "<rpid:away/>",
			aa.StatusDoNotDisturb: "<rpid:other>unavailable</rpid:other>",
			aa.StatusSignedOut:    "<rpid:other>signed out</rpid:other>",
		} {
			before := etag
			require.NoError(t, c.Publish(t.Context(), client.Publication{Status: status, Note: "HELLO"}))
			sent := s.seen("")
			require.Len(t, sent, 1, "the first counts")
			require.Contains(t, string(sent[0].Body), want)
			require.Contains(t, string(sent[0].Body), "HELLO")
			require.NotContains(t, string(sent[0].Body), "aastra")
			require.NotContains(t, strings.ToLower(sent[0].Header.Get("User-Agent")), "blustar")
			require.Equal(t, tom, sent[0].URI.String(), "the resource is named by the Request-URI")
			if before > 0 {
				require.Equal(t, strconv.Itoa(before), sent[0].Header.Get("SIP-If-Match"), "each answer has a new tag")
			}
		}
	})
}

func TestPublicationIsChecked(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.ErrorContains(t, c.Publish(t.Context(), client.Publication{Note: strings.Repeat("x", 5000)}), "note")
		require.Empty(t, s.seen(""))
	})
}
