package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/internal/rig"
	"github.com/openblustar/blustar/sipx"
)

// missing skips the test because a server is not installed, or fails it where
// all are required.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
		t.Fatal(what + " is not installed")
	}
	t.Skip(what + " is not installed; BLUSTAR_INTEGRATION=required makes this an error")
}

// child is a server as a child process.
type child struct {
	t     *testing.T
	args  []string
	ready func() bool
	cmd   *exec.Cmd
	log   bytes.Buffer
}

// start starts it, and waits until it is ready. Should the test be killed, it ends
// by itself after five minutes.
func (c *child) start() {
	c.t.Helper()
	timeout, err := exec.LookPath("timeout")
	if err != nil {
		missing(c.t, "timeout (Debian: coreutils)")
	}
	c.cmd = exec.Command(timeout, append([]string{"300"}, c.args...)...)
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	require.NoError(c.t, c.cmd.Start())
	require.Eventually(c.t, c.ready, time.Minute, 20*time.Millisecond, "%s is not ready", c.args[0])
}

// stop ends it, and with it what it has in memory.
func (c *child) stop() {
	if c.cmd == nil {
		return
	}
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM)) // which timeout passes on
	_ = c.cmd.Wait()
	c.cmd = nil
	if c.t.Failed() {
		c.t.Logf("%s:\n%s", c.args[0], c.log.String())
	}
}

// pbx is Kamailio's presence server. Its telephones PUBLISH their dialogs.
type pbx struct {
	child
	uri    sipx.URI
	sender sipx.Sender
	etag   string
}

func newPBX(t *testing.T) *pbx {
	t.Helper()
	program, err := exec.LookPath("kamailio")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/kamailio")
	}
	if modules, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/presence_dialoginfo.so"); err != nil || len(modules) == 0 {
		missing(t, "Kamailio (Debian: kamailio, kamailio-presence-modules)")
	}
	p := &pbx{uri: sipx.URI{Scheme: "sip", Host: rig.Address(t), Port: 5060}}
	p.sender = newStack(t, silent)
	folder := t.TempDir()
	p.child = child{t: t, ready: p.answers, args: []string{
		program, "-f", "../../presence/dialoginfo/testdata/kamailio.cfg", "-l", "udp:" + p.uri.Host + ":5060",
		"-P", folder + "/pid", "-Y", folder, "-m", "64", "-M", "8", "-DD", "-E",
	}}
	t.Cleanup(p.stop)
	p.start()
	return p
}

func (p *pbx) stop() {
	p.child.stop()
	p.etag = ""
}

func (p *pbx) answers() bool {
	res, err := p.do(time.Second, "OPTIONS", "ping", "") // it is asked again
	return err == nil && res.Status == 200
}

// do sends a request about a device, and waits so long for the answer.
func (p *pbx) do(limit time.Duration, method, device, body string, fields ...sipx.Field) (*sipx.Response, error) {
	to := p.uri
	to.User = device
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return sipx.Do(ctx, p.sender, &sipx.Request{
		Method: method, URI: to, From: sipx.Address{URI: to}.WithTag(rand.Text()), To: sipx.Address{URI: to},
		CallID: rand.Text(), CSeq: 1, Header: fields, Body: []byte(body),
	})
}

// call tells of the one call that a device has: early, confirmed or terminated.
func (p *pbx) call(device, state string) {
	p.t.Helper()
	fields := []sipx.Field{
		{Name: "Event", Value: "dialog"}, {Name: "Expires", Value: "600"}, {Name: "Content-Type", Value: "application/dialog-info+xml"},
		{Name: "Contact", Value: p.sender.Contact(sipx.Flow{})},
	}
	if p.etag != "" {
		fields = append(fields, sipx.Field{Name: "SIP-If-Match", Value: p.etag})
	}
	res, err := p.do(patience, "PUBLISH", device, fmt.Sprintf(`<?xml version="1.0"?>
<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:%s@127.0.0.1">
<dialog id="call" direction="recipient"><state>%s</state></dialog>
</dialog-info>`, device, state), fields...)
	require.NoError(p.t, err)
	require.Equal(p.t, 200, res.Status)
	p.etag = res.Header.Get("SIP-ETag")
	if state == "terminated" {
		p.etag = "" // Kamailio forgets a call that has ended
	}
}

// calendars is radicale, where an account "presence" may read everybody's.
type calendars struct {
	child
	host   string
	client http.Client
}

const calendarPassword = "canary of the calendar"

func newCalendars(t *testing.T) *calendars {
	t.Helper()
	program, err := exec.LookPath("radicale")
	if err != nil {
		missing(t, "radicale (Debian: radicale)")
	}
	c := &calendars{host: net.JoinHostPort(rig.Address(t), "8080"), client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	folder := t.TempDir()
	for name, text := range map[string]string{
		"users":  "alice:alice\npresence:" + calendarPassword + "\n",
		"rights": "[gateway]\nuser: presence\ncollection: .*\npermissions: Rr\n[owner]\nuser: .+\ncollection: {user}(/.*)?\npermissions: RrWw\n",
		"config": fmt.Sprintf("[server]\nhosts = %s\n[auth]\ntype = htpasswd\nhtpasswd_filename = %[2]s/users\nhtpasswd_encryption = plain\ndelay = 0\n"+
			"[rights]\ntype = from_file\nfile = %[2]s/rights\n[storage]\nfilesystem_folder = %[2]s/storage\n", c.host, folder),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	c.child = child{t: t, ready: c.answers, args: []string{program, "--config", folder + "/config"}}
	t.Cleanup(c.stop)
	c.start()
	return c
}

func (c *calendars) answers() bool {
	conn, err := net.Dial("tcp", c.host)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// do is what Alice does with her calendar.
func (c *calendars) do(method, path, body string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.host+"/alice/"+path, strings.NewReader(body))
	require.NoError(c.t, err)
	req.SetBasicAuth("alice", "alice")
	req.Header.Set("Content-Type", "text/calendar")
	res, err := c.client.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	require.Equal(c.t, 2, res.StatusCode/100, "%s %s: %s", method, path, answer)
}

// meet puts a private event of two hours around now into it.
func (c *calendars) meet(subject string) {
	c.t.Helper()
	const layout = "20060102T150405Z"
	now := time.Now().UTC()
	c.do("PUT", "work/meeting.ics", strings.ReplaceAll(fmt.Sprintf(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//EN
BEGIN:VEVENT
UID:meeting
DTSTAMP:20260101T000000Z
DTSTART:%s
DTEND:%s
CLASS:PRIVATE
SUMMARY:%s
END:VEVENT
END:VCALENDAR
`, now.Add(-time.Hour).Format(layout), now.Add(time.Hour).Format(layout), subject), "\n", "\r\n"))
}

// cloud is a tenant of Microsoft 365, with Alice in it.
type cloud struct {
	*fakegraph.Server
	server *httptest.Server
	dead   atomic.Bool
}

const aliceMail = "alice@example.test"

func newCloud(t *testing.T) *cloud {
	c := &cloud{Server: fakegraph.New()}
	c.Secret, c.EchoLag = "canary", 5*time.Second
	c.AddUser("00000000-0000-4000-8000-000000000001", aliceMail, aliceMail)
	c.calls(false)
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.dead.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		c.ServeHTTP(w, r)
	}))
	t.Cleanup(c.server.Close)
	return c
}

// configuration is one whose calendars and Teams are there. The intervals are so short
// that the test sees states fade.
func (c *cloud) configuration(change func(object)) object {
	return configuration(func(all object) {
		all["calendar"] = object{"kind": "graph", "interval": "1s"}
		all["teams"] = object{"interval": "1s", "write": true}
		all["microsoft"] = object{
			"tenant": c.Tenant, "client_id": c.ClientID, "secret_file": "password", "login": c.server.URL, "graph": c.server.URL,
		}
		if change != nil {
			change(all)
		}
	})
}

// meets puts a private event around now into Alice's calendar, or takes it out.
func (c *cloud) meets(busy bool) {
	if !busy {
		c.SetEvents(aliceMail)
		return
	}
	now := time.Now()
	c.SetEvents(aliceMail, fakegraph.NewEvent("1", "secret", now.Add(-time.Hour), now.Add(time.Hour)).With("sensitivity", "private"))
}

// calls has Alice in a call in Teams, or not.
func (c *cloud) calls(busy bool) {
	if busy {
		c.SetPresence(aliceMail, "Busy", "InACall")
		return
	}
	c.SetPresence(aliceMail, "Available", "Available")
}

// shows waits until Teams shows this session of the gateway for Alice; "": none.
func (c *cloud) shows(t *testing.T, activity string) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Session(aliceMail) == activity }, patience, 10*time.Millisecond)
}

// reads waits until the gateway has read from Teams so many times more.
func (c *cloud) reads(t *testing.T, n int) {
	t.Helper()
	c.Requests() // those before
	require.Eventually(t, func() bool {
		for _, asked := range c.Requests() {
			if strings.HasSuffix(asked, "/getPresencesByUserId") {
				n--
			}
		}
		return n <= 0
	}, patience, 10*time.Millisecond)
}

// exchange is an Exchange server, with Alice's mailbox on it.
type exchange struct {
	*fakeews.Server
	url  string
	dead atomic.Bool
}

func newExchange(t *testing.T) *exchange {
	x := &exchange{Server: fakeews.New()}
	x.Add(aliceMail)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if x.dead.Load() {
			panic(http.ErrAbortHandler)
		}
		x.ServeHTTP(w, r)
	}))
	server.Config.ConnContext = x.Connected
	server.Start()
	t.Cleanup(func() {
		x.Cut() // streams stay open otherwise
		server.Close()
	})
	x.url = server.URL + "/EWS/Exchange.asmx"
	return x
}

// configuration is one whose calendars are there, with that time between polls.
func (x *exchange) configuration(interval string, change func(object)) object {
	return configuration(func(all object) {
		all["calendar"] = object{"kind": "ews", "url": x.url, "interval": interval, "username": fakeews.User, "password_file": "exchange-password"}
		change(all)
	})
}

// meets puts a private appointment around now into Alice's calendar, or takes it out.
func (x *exchange) meets(busy bool) {
	x.Change(aliceMail, func(b *fakeews.Mailbox) {
		b.Items = nil
		if now := time.Now(); busy {
			b.Items = []fakeews.Item{{ID: "1", From: now.Add(-time.Hour), To: now.Add(time.Hour), Subject: "secret", Sensitivity: "Private"}}
		}
	})
}

// listened waits until the gateway is told of changes.
func (x *exchange) listened(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() (ok bool) {
		x.With(func() { ok = len(x.Streams) == 1 })
		return ok
	}, patience, 10*time.Millisecond)
}

// dies ends all connections and takes no more, and has forgotten the subscriptions.
func (x *exchange) dies() {
	x.dead.Store(true)
	x.Restart()
}
