package interop_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// ends are the ways in which the server of a restart ends.
var ends = map[string]func(*server){
	"kill -9": func(s *server) {
		s.kill()
		<-s.ended
	},
	"SIGTERM": func(s *server) { _ = s.stop() },
}

// serveStored starts a server with a store, at an address of its own, so that it can be
// started again there.
func serveStored(t *testing.T, transport, own string, more map[string]any) *server {
	t.Helper()
	cfg := map[string]any{
		"listen": []string{transport + ":" + net.JoinHostPort(own, "5060")},
		"store":  map[string]any{"file": "store.db"},
	}
	for key, v := range more {
		cfg[key] = v
	}
	return serve(t, cfg)
}

// again starts the server again after it has ended.
func (s *server) again() *server {
	s.t.Helper()
	bin, err := built()
	require.NoError(s.t, err)
	next := &server{launch(s.t, s.cmd.Dir, nil, filepath.Join(bin, "server"), "-config", "server.json")}
	next.prints(`(?m)^ready$`)
	return next
}

var allStored = regexp.MustCompile(`(?m)^blustar_store_waiting 0$`)

// dialogs waits until each NOTIFY is answered and everything is in the store, and returns the
// names of the dialogs.
func (s *server) dialogs() []string {
	s.t.Helper()
	var ids []string
	s.eventually("everything is answered, and in the store", func() bool {
		ids = nil
		for _, i := range s.list("subscriptions") {
			if i.UnderWay > 0 {
				return false
			}
			ids = append(ids, i.ID)
		}
		_, text := s.call("GET", "/metrics", "")
		return allStored.MatchString(text)
	})
	slices.Sort(ids)
	return ids
}

// pair are tom, who publishes, and bill, who watches him, with clients of ours.
type pair struct {
	*testing.T
	tom, bill *client.Client
	heard     chan client.Notification
}

// newPair signs them in at a server whose certificate is in a file.
func newPair(t *testing.T, transport, own, cert string) *pair {
	t.Helper()
	roots := x509.NewCertPool()
	text, err := os.ReadFile(cert)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(text))
	listen := stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, TLS: &tls.Config{RootCAs: roots}}
	if transport == "udp" {
		listen.Listen = []string{"udp:127.0.0.1:0"}
	}
	uri := sipx.URI{Scheme: "sip", Host: own, Port: 5060, Params: ";transport=" + transport}
	p := &pair{T: t, heard: make(chan client.Notification, 100)}
	p.tom = ours(t, "tom", listen, client.Config{Server: uri, Address: "sip:tom@" + domain, Notify: func(client.Notification) {}})
	p.bill = ours(t, "bill", listen, client.Config{Server: uri, Address: "sip:bill@" + domain, Notify: func(n client.Notification) { p.heard <- n }})
	require.NoError(t, p.tom.SignIn(t.Context()))
	p.says("before")
	require.NoError(t, p.bill.Watch(t.Context(), "sip:tom@"+domain))
	p.hears("before")
	return p
}

// says has tom publish a note.
func (p *pair) says(note string) {
	p.Helper()
	require.NoError(p, p.tom.Publish(p.Context(), client.Publication{Status: aa.StatusBusy, Note: note}))
}

// hears waits until bill is told a note. Nothing else that he is told says that something has
// ended.
func (p *pair) hears(note string) {
	p.Helper()
	for deadline := time.After(patience); ; {
		select {
		case n := <-p.heard:
			require.NoError(p, n.Err)
			require.Equal(p, client.Active, n.State, n.Reason)
			if n.Own {
				continue
			}
			summary := n.Summary()
			require.Equal(p, "busy", summary.Status)
			if summary.Note == note {
				return
			}
		case <-deadline:
			require.FailNow(p, "does not hear "+note)
		}
	}
}

// leave signs both out.
func (p *pair) leave() {
	p.Helper()
	require.NoError(p, p.bill.Close(p.Context()))
	require.NoError(p, p.tom.Close(p.Context()))
}

// BSX-11, BSX-13: clients of different make do not notice that the server is restarted: they
// hear of nobody that he has signed out, and of no subscription that it has ended; their dialogs
// and sessions go on.
func TestRestart(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		for name, end := range ends {
			t.Run(transport+" "+name, func(t *testing.T) {
				t.Parallel()
				if transport == "udp" {
					sipp(t)
				}
				own := ownAddress(t)
				cert, key := certificate(t, own)
				s := serveStored(t, transport, own, map[string]any{"tls": map[string]any{"cert": cert, "key": key}})
				p := newPair(t, transport, own, cert)
				var ann *scenario
				var last int // CSeq of a NOTIFY
				hears := func(note string) {
					t.Helper()
					r := ann.report()
					require.Contains(t, r.Get("Activities"), note, "there is no other NOTIFY")
					n, err := strconv.Atoi(r.Get("Number"))
					require.NoError(t, err)
					require.Greater(t, n, last)
					last = n
				}
				if transport == "udp" {
					ann = play(t, "restart.xml", part{user: "ann", watches: "tom", transport: transport, next: s.listening(transport)})
					hears("before")
				}
				before := s.dialogs()

				end(s)
				s = s.again()
				require.Equal(t, before, s.dialogs())
				p.says("after")
				p.hears("after")
				if ann != nil {
					hears("after")
					ann.succeeds()
				}
				p.leave()
				s.forgets()
			})
		}
	}
}

// BSX-11: a server that is stopped for longer than it takes to write to the store, and to
// send again what is not answered, goes on where it was; and what was acknowledged before and
// after is in the store.
func TestStopped(t *testing.T) {
	t.Parallel()
	own := ownAddress(t)
	cert, _ := certificate(t, own)
	s := serveStored(t, "udp", own, nil)
	p := newPair(t, "udp", own, cert)
	before := s.dialogs()
	continued := make(chan struct{})
	go func() {
		defer close(continued)
		s.signal(syscall.SIGSTOP)
		<-time.After(2 * time.Second) // it is sent again after 0.5 and 1.5 s, and written after 50 ms
		s.signal(syscall.SIGCONT)
	}()
	last := 0
	for on := true; on; last++ {
		p.says(strconv.Itoa(last))
		p.hears(strconv.Itoa(last))
		select {
		case <-continued:
			on = false
		default:
		}
	}
	require.Equal(t, before, s.dialogs())

	ends["kill -9"](s)
	s = s.again()
	require.Equal(t, before, s.dialogs())
	publications := s.list("publications")
	require.Len(t, publications, 1)
	require.Equal(t, strconv.Itoa(last-1), publications[0].Note)
	p.says("after")
	p.hears("after")
	p.leave()
	s.forgets()
}

// BSX-11: a telephone in a browser, which connects again and then refreshes, finds its
// subscription as it was (RFC 7118 §5: what is sent to it goes over the new WebSocket).
func TestRestartBrowser(t *testing.T) {
	for _, transport := range []string{"ws", "wss"} {
		for name, end := range ends {
			t.Run(transport+" "+name, func(t *testing.T) {
				t.Parallel()
				own := ownAddress(t)
				cert, key := certificate(t, own)
				s := serveStored(t, transport, own, map[string]any{"tls": map[string]any{"cert": cert, "key": key}, "auth": md5})
				ann := telephone(t, "jssip", transport+"://"+s.listening(transport), cert)
				ann.prints(`NOTIFY active\S* Signed out`)
				before := s.dialogs()
				end(s)
				ann.prints(`(?m)^disconnected$`)
				s = s.again()
				ann.prints(`(?m)^disconnected$(.*\n)+connected$`)
				s.line(users["tom"], "busy")
				ann.says("refresh")
				ann.prints(`NOTIFY active\S* In a call`)
				require.Equal(t, before, s.dialogs())
				ann.says("end")
				ann.prints(`(?m)^end$`)
				require.NoError(t, ann.wait())
				require.NotContains(t, ann.stdout.String(), "failed")
				s.forgets()
			})
		}
	}
}
