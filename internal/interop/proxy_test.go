package interop_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// kamailio is a Kamailio, as an SBC.
type kamailio struct {
	*program
	address string // for all transports but TLS
	secure  string // for TLS
	cert    string // the file of its certificate, if it speaks TLS
}

func findKamailio(t *testing.T) string { return installed(t, "kamailio", "kamailio") }

// border starts a Kamailio before a server, which it talks to over one
// transport. Definitions switch parts of its configuration on; "TLS" gives it a certificate.
func border(t *testing.T, s *server, transport string, definitions ...string) *kamailio {
	t.Helper()
	return startKamailio(t, "kamailio.cfg", append(definitions, `SERVER="sip:`+s.listening(transport)+`;transport=`+transport+`"`)...)
}

// startKamailio starts a Kamailio with a configuration of the folder testdata.
func startKamailio(t *testing.T, cfg string, definitions ...string) *kamailio {
	t.Helper()
	path := findKamailio(t)
	own, folder := ownAddress(t), t.TempDir()
	k := &kamailio{address: net.JoinHostPort(own, "5060"), secure: net.JoinHostPort(own, "5061")}
	args := []string{"-f", "testdata/" + cfg, "-P", folder + "/pid", "-Y", folder, "-w", folder,
		"-l", "udp:" + k.address, "-l", "tcp:" + k.address, "-m", "64", "-M", "8", "-DD", "-E", "-A", "OWN=" + own, "-A", `ADDRESS="sip:` + k.address + `"`}
	for _, d := range definitions {
		if d == "TLS" {
			var key string
			k.cert, key = certificate(t, own)
			args = append(args, "-l", "tls:"+k.secure, "-A", `CERTIFICATE="`+k.cert+`"`, "-A", `KEY="`+key+`"`)
		} else {
			args = append(args, "-A", d)
		}
	}
	k.program = launch(t, ".", nil, path, args...)
	awaitSIP(t, k.program, k.address)
	return k
}

// awaitSIP waits until a server answers.
func awaitSIP(t *testing.T, p *program, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "udp", address)
	require.NoError(t, err)
	defer conn.Close()
	local := conn.LocalAddr().String()
	ping := strings.ReplaceAll("OPTIONS sip:"+address+" SIP/2.0\nVia: SIP/2.0/UDP "+local+";rport;branch=z9hG4bKping\n"+
		"Max-Forwards: 70\nFrom: <sip:ping@"+local+">;tag=1\nTo: <sip:"+address+">\nCall-ID: ping\nCSeq: 1 OPTIONS\n"+
		"Content-Length: 0\n\n", "\n", "\r\n")
	for answer := make([]byte, 4096); ctx.Err() == nil; {
		_, _ = conn.Write([]byte(ping)) // refused, as long as nobody listens
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := conn.Read(answer)
		if err == nil && strings.HasPrefix(string(answer[:n]), "SIP/2.0 200 ") {
			return
		}
		if err != nil && !isTimeout(err) {
			select { // a refusal comes at once
			case <-time.After(50 * time.Millisecond):
			case <-p.ended:
				require.FailNow(t, p.name+" ended", p.stdout.String())
			}
		}
	}
	require.FailNow(t, p.name+" does not answer", p.stdout.String())
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// passesOn waits until an SBC has passed on so many requests within dialogs.
func (k *kamailio) passesOn(method string, n int) {
	k.t.Helper()
	k.prints(`(?s)(passes on ` + method + "\n.*){" + strconv.Itoa(n) + "}")
}

// Through an SBC, in both dialects and over each pair of transports: requests
// reach the server by the Route that the client was given (§2.10, §4.1, §4.3), and
// all that belongs to a dialog follows its route set, NOTIFYs first of all
// (BSP-4-3, BSX-5; RFC 3261 §12.2). The scenarios are those without an SBC.
func TestBorder(t *testing.T) {
	sipp(t)
	findKamailio(t)
	type pair struct{ client, server string }
	for _, c := range []pair{{"udp", "udp"}, {"tcp", "tcp"}, {"tcp", "udp"}, {"udp", "tcp"}} {
		t.Run(c.client+" to "+c.server, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			sbc := border(t, s, c.server)
			play(t, "client.xml", part{user: "tom", transport: c.client, next: sbc.address}).succeeds()
			s.forgets()
			sbc.passesOn("NOTIFY", 4)
			sbc.passesOn("SUBSCRIBE", 2)
		})
		t.Run(c.client+" to "+c.server+" standard", func(t *testing.T) {
			t.Parallel()
			s := serve(t, open)
			sbc := border(t, s, c.server)
			play(t, "standard.xml", part{user: "tom", agent: "SIPp", transport: c.client, next: sbc.address}).succeeds()
			s.forgets()
			sbc.passesOn("NOTIFY", 6)
			sbc.passesOn("SUBSCRIBE", 2)
		})
	}
}

// Our own client, which has the SBC as its Route and knows the server by name
// alone (BSP-4-3).
func TestBorderOwnClient(t *testing.T) {
	findKamailio(t)
	for _, dialect := range []string{"BluStar", "Standard"} {
		for _, transport := range transports {
			t.Run(dialect+" "+transport, func(t *testing.T) {
				t.Parallel()
				s := serve(t, map[string]any{"limits": map[string]any{"min_expires": 1, "max_subscribe_expires": 2}})
				sbc := border(t, s, transport)
				heard := make(chan client.Notification, 100)
				ann := phone(t, sbc, transport, client.Config{
					Address: "sip:ann@" + domain, Standard: dialect == "Standard",
					Notify: func(n client.Notification) { heard <- n },
				})
				hears := func(status string) {
					t.Helper()
					for deadline := time.After(patience); ; {
						select {
						case n := <-heard:
							if n.Summary().Status == status {
								return
							}
						case <-deadline:
							require.FailNow(t, "does not hear "+status)
						}
					}
				}
				require.NoError(t, ann.Watch(t.Context(), "sip:tom@"+domain))
				s.line("2719", "busy")
				hears("busy")
				sbc.passesOn("SUBSCRIBE", 1) // she refreshes before two seconds are over
				require.NoError(t, ann.Publish(t.Context(), client.Publication{Status: aa.StatusDoNotDisturb}))
				require.Equal(t, "unavailable", s.status("ann"))
				require.NoError(t, ann.Close(t.Context()))
				s.forgets()
				sbc.passesOn("NOTIFY", 3)
			})
		}
	}
}

// phone makes a client of ann behind an SBC.
func phone(t *testing.T, sbc *kamailio, transport string, cfg client.Config) *client.Client {
	t.Helper()
	cfg.Server = sipx.URI{Scheme: "sip", Host: domain}
	cfg.Route = []string{"<sip:" + sbc.address + ";lr;transport=" + transport + ">"}
	return ours(t, "ann", stack.Config{Listen: []string{transport + ":127.0.0.1:0"}}, cfg)
}

// ours makes a client of this project with a stack of its own.
func ours(t *testing.T, user string, listen stack.Config, cfg client.Config) *client.Client {
	t.Helper()
	sip, err := stack.Listen(listen)
	require.NoError(t, err)
	account := user
	if !cfg.Standard {
		account = `DE\` + user
	}
	cfg.Credentials, err = auth.NewCredentials(account, []byte(password))
	require.NoError(t, err)
	cfg.Sender = sip
	c, err := client.New(cfg)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() {
		served <- sip.Serve(context.Background(), &numbered{Client: c, t: t, seen: make(map[string]bool)})
	}()
	t.Cleanup(func() {
		c.Abandon()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, sip.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	return c
}

// numbered is a client that sees to it that no NOTIFY has the CSeq of another in its dialog.
type numbered struct {
	*client.Client
	t    *testing.T
	mu   sync.Mutex
	seen map[string]bool
}

func (n *numbered) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	id := fmt.Sprint(req.CallID, req.From.Tag(), req.CSeq)
	n.mu.Lock()
	if n.seen[id] {
		n.t.Errorf("another NOTIFY with CSeq %d of %s", req.CSeq, req.From)
	}
	n.seen[id] = true
	n.mu.Unlock()
	n.Client.ServeSIP(ctx, w, req)
}
