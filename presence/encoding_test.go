package presence_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
)

func compressed(t *testing.T, coding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	default:
		var err error
		w, err = flate.NewWriter(&b, flate.BestCompression)
		require.NoError(t, err)
	}
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// BSX-14: compressed bodies of lists and documents are read, up to MaxBody when they are
// expanded; what cannot be read is told.
func TestContentEncoding(t *testing.T) {
	const most = 8192
	list := resourceLists("sip:tom@example.com", "sip:bob@example.com")
	large := resourceLists("sip:" + strings.Repeat("a", most) + "@example.com")
	for name, tt := range map[string]struct {
		field, body string
		status      int
		accept      string
	}{
		"gzip":                {"gzip", compressed(t, "gzip", list), 200, ""},
		"any case":            {"GZip", compressed(t, "gzip", list), 200, ""},
		"deflate":             {"deflate", compressed(t, "deflate", list), 200, ""},
		"deflate as it is":    {"deflate", compressed(t, "raw", list), 200, ""},
		"identity":            {"identity", list, 200, ""},
		"another":             {"br", list, 415, "gzip, deflate, identity"},
		"two":                 {"deflate, gzip", list, 415, "gzip, deflate, identity"},
		"two fields":          {"gzip\nContent-Encoding: gzip", compressed(t, "gzip", list), 415, "gzip, deflate, identity"},
		"not compressed":      {"gzip", list, 400, ""},
		"not inflatable":      {"deflate", "\xff" + list, 400, ""},
		"cut off":             {"gzip", compressed(t, "gzip", list)[:40], 400, ""},
		"large when expanded": {"gzip", compressed(t, "gzip", large), 413, ""},
		"very large":          {"deflate", compressed(t, "deflate", strings.Repeat(" ", 4<<20)), 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *presence.Config) { c.MaxBody = most })
			s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", tt.body, "Expires: 300", "Supported: eventlist",
				"Content-Type: application/resource-lists+xml", "Content-Encoding: "+tt.field)
			require.Equal(t, tt.status, res.Status, res.Reason)
			require.Equal(t, tt.accept, res.Header.Get("Accept-Encoding"))
			if tt.status == 200 {
				_, docs := listOf(t, s.one())
				require.Len(t, docs, 2)
			}
		})
	}
}

// BSX-14, RFC 3261 §22.4: what a client has signed is the body that it sent.
func TestContentEncodingSigned(t *testing.T) {
	guard := &bodies{}
	w := newWorld(t, func(c *presence.Config) { c.Guard = guard })
	body := compressed(t, "deflate", pidfBody("open", "<rpid:busy/>", ""))
	require.Equal(t, 200, w.standard("tom", "192.0.2.8").publish("", body, "Expires: 300", "Content-Encoding: deflate").Status)
	require.Equal(t, body, guard.last)
	view, err := w.server.Presence(t.Context(), "sip:tom@example.com")
	require.NoError(t, err)
	require.Equal(t, "busy", string(view.Result.Status))
}

// bodies lets everybody in, and keeps what was judged.
type bodies struct{ last string }

func (b *bodies) Check(_ context.Context, r auth.Request) auth.Decision {
	b.last = string(r.Body)
	return auth.Decision{Verdict: auth.Accept}
}

// BSX-14: large bodies go out compressed to those whose SUBSCRIBE has Accept-Encoding.
func TestAcceptEncoding(t *testing.T) {
	for name, tt := range map[string]struct{ accept, want string }{
		"none":         {"", ""},
		"identity":     {"identity", ""},
		"unknown":      {"br, *", ""},
		"gzip":         {"gzip", "gzip"},
		"deflate":      {"deflate", "deflate"},
		"the first":    {"br;q=1, Deflate;q=0.5, gzip", "deflate"},
		"none of it":   {"gzip;q=0, deflate; q = 0.0", ""},
		"one refused":  {"gzip;q=0, deflate", "deflate"},
		"not a number": {"gzip;q=x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			fields := []string{"Expires: 300", "Supported: eventlist", "Content-Type: application/resource-lists+xml"}
			if tt.accept != "" {
				fields = append(fields, "Accept-Encoding: "+tt.accept)
			}
			s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com",
				resourceLists("sip:tom@example.com", "sip:bob@example.com", "sip:ann@example.com"), fields...)
			require.Equal(t, 200, res.Status)
			n := s.one()
			require.Equal(t, tt.want, n.Header.Get("Content-Encoding"))
			n.Body = expanded(t, n)
			_, docs := listOf(t, n)
			require.Len(t, docs, 3)

			// A single one, small enough for a datagram of any network, stays as it is.
			small, _ := w.standard("ann", "192.0.2.7").subscribe("sip:nobody@example.com", "Expires: 300", "Accept-Encoding: "+tt.accept)
			n = small.one()
			require.Less(t, len(n.Body), 1024)
			require.Empty(t, n.Header.Get("Content-Encoding"))
			require.Equal(t, "sip:nobody@example.com", n.doc(t).Entity)
		})
	}
}

// expanded returns the body of a NOTIFY without its coding.
func expanded(t *testing.T, n *notify) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(n.Body)
	var err error
	switch n.Header.Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	require.NoError(t, err)
	body, err := io.ReadAll(r)
	require.NoError(t, err)
	return body
}

// RFC 4479 §3.3: services that are open have the entity as their contact, as each
// watcher writes it, in documents of the Standard dialect: Jitsi shows a user without as
// offline. Those that are closed have none, nor has a document of BluStar.
func TestContactOfOpenTuples(t *testing.T) {
	w := newWorld(t)
	w.client("tom", "192.0.2.8").subscribe("sip:tom@example.com")
	w.standard("tom", "192.0.2.9").publish("", pidfBody("open", "<rpid:busy/>", ""))
	for range 2 { // what several watch is kept
		for _, entity := range []string{"sip:tom@example.com", "sip:67251@example.com"} {
			s, _ := w.standard("ann", "192.0.2.7").subscribe(entity)
			open := 0
			for _, tuple := range s.one().doc(t).Tuples[:4] {
				if tuple.Basic == pidf.Closed {
					require.Nil(t, tuple.Contact)
					continue
				}
				open++
				require.Equal(t, &pidf.Contact{URI: entity}, tuple.Contact)
			}
			require.Positive(t, open)
		}
	}
	s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	for _, tuple := range s.one().doc(t).Tuples[:4] {
		require.Nil(t, tuple.Contact)
	}
}
