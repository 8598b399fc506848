package interop_test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// A twin is what a scenario talks to beside the server: it makes X-BSS-rauth for
// an X-BSS-auth, and collects reports. SIPp connects to it as to the other party
// of a three-party scenario: each command is a header, ended by an escape
// character.
type twin struct {
	t        *testing.T
	listener net.Listener
	account  string
	cipher   auth.Cipher
	// reports are the commands that asked for nothing.
	reports chan textproto.MIMEHeader
	served  chan struct{}
}

const endOfCommand = 0x1b

// newTwin makes a twin that knows the password of a user.
func newTwin(t *testing.T, user string) *twin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tw := &twin{
		t: t, listener: l, account: `DE\` + user, cipher: auth.Tuz{},
		reports: make(chan textproto.MIMEHeader, 100), served: make(chan struct{}),
	}
	go func() {
		defer close(tw.served)
		tw.serve()
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-tw.served
	})
	return tw
}

// serve serves one SIPp, until it ends.
func (tw *twin) serve() {
	defer close(tw.reports)
	conn, err := tw.listener.Accept()
	if err != nil {
		return // the test has ended
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	for r := bufio.NewReader(conn); ; {
		text, err := r.ReadBytes(endOfCommand)
		if err != nil {
			return
		}
		text = append(bytes.TrimSpace(bytes.TrimSuffix(text, []byte{endOfCommand})), "\r\n\r\n"...)
		command, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(text))).ReadMIMEHeader()
		if err != nil {
			tw.t.Errorf("a command of SIPp: %v: %q", err, text)
			return
		}
		key := command.Get(auth.HeaderAuth)
		if key == "" {
			tw.reports <- command
			continue
		}
		answer, err := tw.encrypt(key)
		if err != nil {
			tw.t.Errorf("credentials: %v", err)
			return
		}
		_, _ = fmt.Fprintf(conn, "Call-ID: %s\r\n%s: %s\r\n\r\n%c", command.Get("Call-ID"), auth.HeaderRauth, answer, endOfCommand)
	}
}

func (tw *twin) encrypt(key string) (string, error) {
	credentials, err := auth.NewCredentials(tw.account, []byte(password))
	if err != nil {
		return "", err
	}
	defer credentials.Wipe()
	return credentials.Encrypt(tw.cipher, key)
}

// report waits for the next report of the scenario.
func (tw *twin) report() textproto.MIMEHeader {
	tw.t.Helper()
	select {
	case r, ok := <-tw.reports:
		require.True(tw.t, ok, "SIPp has ended, and reports nothing")
		return r
	case <-time.After(patience):
		require.FailNow(tw.t, "SIPp does not report")
		return nil
	}
}

// scenario is a scenario of SIPp, running.
type scenario struct {
	*program
	*twin
	folder string
}

// A part is who plays a scenario, and where.
type part struct {
	user      string
	watches   string // a user; empty: user
	event     string // empty: presence
	agent     string // empty: a BluStar client
	transport string
	next      string // where requests go
}

func sipp(t *testing.T) string { return installed(t, "sipp", "sip-tester") }

// play starts a scenario of the folder sipp.
func play(t *testing.T, name string, as part) *scenario {
	t.Helper()
	s := &scenario{twin: newTwin(t, as.user), folder: t.TempDir()}
	var party []string
	if text := s.write(name); bytes.Contains(text, []byte("<sendCmd>")) {
		party = []string{"-3pcc", s.listener.Addr().String()}
	}
	s.program = launch(t, s.folder, []string{"TERM=dumb"}, sipp(t), append(party,
		as.next, "-sf", name, "-m", "1", "-i", ownAddress(t), "-t", as.transport[:1]+"1", "-nostdin",
		"-deadcall_wait", "0", "-max_recv_loops", "1", "-recv_timeout", "45000", "-timeout", "60s", "-timeout_error",
		"-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log",
		"-s", as.user, "-key", "domain", domain,
		"-key", "watched", cmp.Or(as.watches, as.user), "-key", "event", cmp.Or(as.event, "presence"),
		"-key", "agent", cmp.Or(as.agent, "Aastra BluStar Client/3.0.1.0"))...)
	t.Cleanup(func() {
		if t.Failed() {
			for _, log := range []string{"errors.log", "messages.log"} {
				text, _ := os.ReadFile(filepath.Join(s.folder, log))
				t.Logf("%s of %s:\n%s", log, name, text)
			}
		}
	})
	return s
}

// write writes the scenario out, with its parts, and returns it.
func (s *scenario) write(name string) []byte {
	t := s.twin.t
	t.Helper()
	all, err := template.ParseFiles("sipp/parts.tmpl", "sipp/"+name)
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, all.ExecuteTemplate(&text, name, nil))
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, name), text.Bytes(), 0o600))
	return text.Bytes()
}

// succeeds waits until the scenario ends, which must be a success.
func (s *scenario) succeeds() {
	s.program.t.Helper()
	err := s.wait()
	text, _ := os.ReadFile(filepath.Join(s.folder, "errors.log"))
	require.NoError(s.program.t, err, string(text))
}

var transports = []string{"udp", "tcp"}

// A day of a BluStar client (§2.10, §4.1, §4.3): BSP-2.10-1, BSP-2.10-3,
// BSP-2.10-4, BSP-2.10-6, BSP-2.9-1, BSP-2.4-1, BSP-2.4-2, BSP-2.4-4, BSP-2.4-5,
// BSP-2.8-1, BSP-4.1-2, BSP-4.3-1, BSP-4-1, BSP-4-2, BSP-4-6; signed out by PUBLISH
// (BSP-2.2-2), as the last client of its user (BSP-2.2-3).
func TestClient(t *testing.T) {
	sipp(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			play(t, "client.xml", part{user: "tom", transport: transport, next: s.listening(transport)}).succeeds()
			s.forgets()
			require.Equal(t, "signed out", s.status("tom"))
		})
	}
}

// A list subscription (§4.2): BSP-2.1-4, BSP-2.1-5, BSP-2.1-7, BSP-2.9-3,
// BSP-4.2-2, BSP-4.1-1, BSP-2.2-1.
func TestList(t *testing.T) {
	sipp(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			client := play(t, "list.xml", part{user: "tom", transport: transport, next: s.listening(transport)})
			got := make(map[string]string)
			for range 3 {
				r := client.report()
				got[r.Get("Entity")] = r.Get("Activities")
			}
			const unknown = "<rpid:other>unknown</rpid:other>"
			require.Equal(t, map[string]string{
				"sip:tom@example.com": unknown, "tel:2720": `<rpid:note xml:lang="Eng">Signed out</rpid:note><rpid:other>signed out</rpid:other>`, "sip:nobody@example.com": unknown,
			}, got)
			require.Equal(t, "sip:bill@example.com", client.report().Get("Entity"))
			s.line("2720", "busy")
			s.line("2721", "busy")
			r := client.report()
			require.Equal(t, "sip:bill@example.com", r.Get("Entity"))
			require.Contains(t, r.Get("Activities"), "<rpid:busy/>")
			client.succeeds()
			s.forgets()
		})
	}
}

// A watcher hears of each step of another client, in order, and of its end:
// BSP-2.1-3, BSP-2.4-2, BSP-2.2-3, BSX-3.
func TestWatcher(t *testing.T) {
	sipp(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			next := s.listening(transport)
			ann := play(t, "watcher.xml", part{user: "ann", watches: "tom", transport: transport, next: next})
			r := ann.report()
			require.Contains(t, r.Get("Activities"), "signed out")
			tom := play(t, "client.xml", part{user: "tom", transport: transport, next: next})
			for number := 1; ; number++ {
				require.Equal(t, strconv.Itoa(number), r.Get("Number"), "CSeq rises by one")
				require.Equal(t, "sip:tom@example.com", r.Get("Entity"))
				if number > 1 && strings.Contains(r.Get("Activities"), "signed out") {
					break
				}
				r = ann.report()
			}
			tom.succeeds()
			ann.succeeds()
			s.forgets()
		})
	}
}

// The Standard dialect: RFC 3903 §6, RFC 6665 §4.2.1; BSX-6, BSP-4-6.
func TestStandard(t *testing.T) {
	sipp(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, open)
			play(t, "standard.xml", part{user: "tom", agent: "SIPp", transport: transport, next: s.listening(transport)}).succeeds()
			s.forgets()
		})
	}
}

// A list in the Standard dialect, while a user sees that he is watched: RFC 4662
// §5, RFC 5367 §5.1, RFC 3857, RFC 3858; BSP-2.5-1.
func TestEventListAndWatcherInformation(t *testing.T) {
	sipp(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, open)
			next := s.listening(transport)
			tom := play(t, "winfo.xml", part{user: "tom", event: "presence.winfo", agent: "SIPp", transport: transport, next: next})
			tom.report()
			ann := play(t, "eventlist.xml", part{user: "ann", agent: "SIPp", transport: transport, next: next})
			ann.report()
			tom.report()
			s.line("2721", "busy")
			ann.succeeds()
			tom.succeeds()
			s.forgets()
		})
	}
}
