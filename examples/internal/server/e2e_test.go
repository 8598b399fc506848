package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
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

const (
	tomURI = "sip:tom.hanks@example.com"
	annURI = "sip:ann@example.com"
)

// phone is a client on a stack of its own.
type phone struct {
	*client.Client
	t     *testing.T
	heard chan client.Notification
	// vanish ends it as a crash does.
	vanish func()
}

// phone makes a client that speaks to the program over transport.
func (p *program) phone(transport, address, account, password string) *phone {
	p.t.Helper()
	t := p.t
	listen := transport
	if transport == "tls" {
		listen = "tcp" // it dials, and is notified over the same connection
	}
	sip, err := stack.Listen(stack.Config{
		Listen: []string{listen + ":127.0.0.1:0"}, TLS: &tls.Config{RootCAs: p.roots},
	})
	require.NoError(t, err)
	credentials, err := auth.NewCredentials(account, []byte(password))
	require.NoError(t, err)
	server, err := sipx.ParseURI("sip:" + p.listening(transport) + ";transport=" + transport)
	require.NoError(t, err)
	ph := &phone{t: t, heard: make(chan client.Notification, 100)}
	ph.Client, err = client.New(client.Config{
		Sender: sip, Server: server, Address: address, Credentials: credentials,
		Notify: func(n client.Notification) { ph.heard <- n },
	})
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = sip.Serve(context.Background(), ph.Client)
	}()
	ph.vanish = sync.OnceFunc(func() {
		ph.Abandon()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = sip.Shutdown(ctx)
		<-served
	})
	t.Cleanup(ph.vanish)
	return ph
}

// hears waits for a notification about entity that satisfies ok.
func (ph *phone) hears(entity, what string, ok func(client.Summary) bool) client.Notification {
	ph.t.Helper()
	last := ""
	for deadline := time.After(patience); ; {
		select {
		case n := <-ph.heard:
			if n.Entity == entity && ok(n.Summary()) {
				return n
			}
			last += "\n" + n.Summary().String()
		case <-deadline:
			require.FailNow(ph.t, "did not hear "+what, "last: %s", last)
		}
	}
}

func is(status, note string) func(client.Summary) bool {
	return func(s client.Summary) bool { return s.Status == status && s.Note == note && s.Ended == "" }
}

// The main job from end to end, over real sockets: BSP-2.10-1, BSP-2.10-6,
// BSP-2.4-1, BSP-2.4-2, BSP-2.5-1, BSP-2.6-1, BSP-2.7-1, BSP-2.2-2, BSP-2.2-3,
// BSP-4.3-6; and no password in anything that comes out.
func TestMainJob(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) { mainJob(t, transport) })
	}
}

func mainJob(t *testing.T, transport string) {
	p := serveUsers(t, "")
	events := p.events()
	tom := p.phone(transport, tomURI, `DE\tom`, canary)
	ann := p.phone(transport, annURI, `de\ANN`, canary)

	require.NoError(t, ann.Watch(t.Context(), tomURI))
	ann.hears(tomURI, "the first NOTIFY", is("signed out", "Signed out"))
	require.NoError(t, tom.SignIn(t.Context()))
	require.NoError(t, tom.Publish(t.Context(), client.Publication{Status: aa.StatusAvailable, Note: "HELLO"}))
	ann.hears(tomURI, "that Tom is available", is("available", "HELLO"))

	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"busy"}`).status)
	n := ann.hears(tomURI, "the call", is("busy", "HELLO"))
	require.Equal(t, aa.LineBusy, aa.LineOf(&n.Presence.Devices[0]).State)
	require.Equal(t, 204, p.request("PUT", "/v1/external/"+tomURI, `{"status":"do not disturb"}`).status)
	ann.hears(tomURI, "the external presence", is("unavailable", "HELLO"))
	require.Equal(t, 204, p.request("DELETE", "/v1/external/"+tomURI, "").status)
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"idle"}`).status)
	ann.hears(tomURI, "the end of the call", is("available", "HELLO"))
	meeting := time.Now().Add(time.Second).UTC().Truncate(time.Second) // BSP-3.2-4: starts and ends by itself
	require.Equal(t, 204, p.request("PUT", "/v1/calendars/tom.hanks@example.com", `[{"id":"1","state":"busy","from":"`+
		meeting.Format(time.RFC3339)+`","end":"`+meeting.Add(2*time.Second).Format(time.RFC3339)+`"}]`).status)
	ann.hears(tomURI, "the meeting", is("busy", "HELLO"))
	ann.hears(tomURI, "the end of the meeting", is("available", "HELLO"))

	require.NoError(t, tom.Forward(t.Context(), "sip:sean@example.com"))
	n = ann.hears(tomURI, "the forwarding", func(s client.Summary) bool { return s.Status == "available" })
	require.Equal(t, "sip:sean@example.com", aa.PresenceOf(&n.Presence.Persons[0]).ExternalUC.FwdDestination)
	forwardings := p.object("/v1/forwardings")["items"].([]any)
	require.Equal(t, "sip:sean@example.com", forwardings[0].(map[string]any)["destination"])

	// What the server holds, paged.
	require.EqualValues(t, 3, p.object("/v1/subscriptions")["total"], "two own, one list")
	require.Len(t, p.object("/v1/clients")["items"], 2)
	publication := p.object("/v1/publications")["items"].([]any)[0].(map[string]any)
	require.Equal(t, "available", publication["status"])
	first := p.object("/v1/subscriptions?limit=2")
	require.Len(t, first["items"], 2)
	require.Equal(t, "/v1/subscriptions?limit=2&offset=2", first["next"])
	require.Len(t, p.object(first["next"].(string))["items"], 1)
	require.Empty(t, p.object("/v1/subscriptions?offset=99")["items"])

	for line := ""; !strings.Contains(line, `"status":"unavailable"`); line = events.next() {
		require.NotContains(t, line, "canary")
	}
	require.Equal(t, map[string]any{"audio": "open", "video": "closed", "message": "open", "global": "open"},
		p.object("/v1/presence/tel:2719")["services"])
	require.Equal(t, "available", p.object("/v1/explain/tel:2719")["rule"])

	// A wrong password is asked for once more, and no more (BSP-2.10-6).
	stranger := p.phone(transport, annURI, `DE\ann`, "canary:wrong")
	require.ErrorIs(t, stranger.SignIn(t.Context()), client.ErrUnauthorized)

	metrics := p.request("GET", "/metrics", "").body
	for _, want := range []string{
		`blustar_requests_total{method="SUBSCRIBE",status="401"}`, `blustar_requests_total{method="PUBLISH",status="200"}`,
		`blustar_notifies_total{outcome="2xx"}`, `blustar_auth_decisions_total{decision="refused"} 1`, "blustar_watches 3",
		`blustar_request_duration_seconds_bucket{method="PUBLISH",le="+Inf"}`,
	} {
		require.Contains(t, metrics, want)
	}

	require.NoError(t, tom.Close(t.Context()))
	ann.hears(tomURI, "that Tom has signed out", func(s client.Summary) bool { return s.Status == "signed out" })

	var seen strings.Builder
	for _, path := range []string{
		"/v1/subscriptions", "/v1/clients", "/v1/publications", "/v1/forwardings", "/v1/presence/" + tomURI,
		"/v1/explain/" + tomURI, "/metrics", "/healthz", "/readyz",
	} {
		seen.WriteString(p.request("GET", path, "").body)
	}
	go p.cancel()
	n = ann.hears(annURI, "the last NOTIFY", func(s client.Summary) bool { return s.Ended != "" })
	require.Equal(t, "deactivated", n.Reason)
	require.Zero(t, p.stop())

	seen.WriteString(p.stderr.String() + p.stdout.String())
	for _, secret := range []string{"canary", "pass\\w", "$2a$", "X-BSS-rauth:"} { // BSP-2.10-7
		require.NotContains(t, seen.String(), secret)
	}
	require.Equal(t, 1, strings.Count(p.stderr.String(), "without TLS"), "BSP-2.10-11: one warning")
}

// Both ciphers by their configured name (BSP-2.10-5), an AMCC (BSP-2.11-1), the
// limits, and mode off.
func TestConfiguredAuth(t *testing.T) {
	p := serveUsers(t, `"auth":{"cipher":"aes-gcm"}`)
	ph := p.phone("udp", tomURI, `DE\tom`, canary)
	require.ErrorIs(t, ph.SignIn(t.Context()), client.ErrUnauthorized, "with the wrong cipher")

	p = serveUsers(t, `"auth":{"mode":"off"},"limits":{"min_expires":0,"max_subscribe_expires":7,"max_list":1}`)
	ph = p.phone("udp", tomURI, `DE\tom`, "nobody asks")
	require.NoError(t, ph.SignIn(t.Context()))
	require.Contains(t, p.stderr.String(), "authentication is off")
	require.NotContains(t, p.request("GET", "/v1/clients", "").body, "0001-01-01", "no time where it did not publish")
	var refused *client.StatusError
	require.ErrorAs(t, ph.Watch(t.Context(), annURI, "sip:bob@example.com"), &refused)
	require.Equal(t, 403, refused.Status, "BSP-4.2-1")
	require.Zero(t, p.stop())

	p = serveUsers(t, `"auth":{"require_tls":true}`)
	ph = p.phone("udp", tomURI, `DE\tom`, canary)
	require.ErrorAs(t, ph.SignIn(t.Context()), &refused)
	require.Equal(t, 403, refused.Status, "BSP-2.10-11")

	// BSP-2.10-8: behind an address that many share, one who mistypes does not
	// keep out the others.
	for shared, refusal := range map[string]int{"127.0.0.0/8": 0, "192.0.2.1": 403} {
		p = serveUsers(t, `"auth":{"max_failures":1,"shared_sources":["`+shared+`"]}`)
		for i := range 5 { // one address may fail 5 times as often as one account
			require.Error(t, p.phone("udp", annURI, `DE\ann`+fmt.Sprint(i), "mistyped").SignIn(t.Context()))
		}
		err := p.phone("udp", tomURI, `DE\tom`, canary).SignIn(t.Context())
		if refusal == 0 {
			require.NoError(t, err)
			continue
		}
		require.ErrorAs(t, err, &refused)
		require.Equal(t, refusal, refused.Status)
	}
}

// Over TLS, where the configuration says so, credentials are accepted (BSP-4-6,
// BSP-2.10-11).
func TestTLS(t *testing.T) {
	pair := httptest.NewUnstartedServer(nil) // has a certificate for 127.0.0.1
	pair.StartTLS()
	certificate, key := pair.Certificate(), pair.TLS.Certificates[0].PrivateKey
	pair.Close()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	folder := files(t, map[string]string{
		"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})),
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	p := serveUsers(t, `"listen":["udp:127.0.0.1:0","tls:127.0.0.1:0"],"auth":{"require_tls":true},
		"tls":{"cert":"`+folder+`/cert.pem","key":"`+folder+`/key.pem"}`)
	p.roots = x509.NewCertPool()
	p.roots.AddCert(certificate)
	ph := p.phone("tls", tomURI, `DE\tom`, canary)
	require.NoError(t, ph.SignIn(t.Context()))
	ph.hears(tomURI, "the first NOTIFY", is("unknown", ""))
	var refused *client.StatusError
	require.ErrorAs(t, p.phone("udp", tomURI, `DE\tom`, canary).SignIn(t.Context()), &refused)
	require.Equal(t, 403, refused.Status)
	require.NotContains(t, p.stderr.String(), "without TLS")
}

// The demo runs with what it prints, on other ports here.
func TestDemo(t *testing.T) {
	c := demoConfig()
	c.Listen, c.HTTP.Listen = []string{"udp:127.0.0.1:0"}, "127.0.0.1:0"
	p := launch(t, func(ctx context.Context, e env) int { return exitCode(serve(ctx, c, e), e) })
	for _, u := range demoUsers() {
		require.Regexp(t, u.SIP[0]+` .*account DE.`+u.ID+` +password `+u.password, p.stderr.String())
		require.NoError(t, p.phone("udp", "sip:"+u.SIP[0], u.Account, u.password).SignIn(t.Context()))
	}
	require.Zero(t, p.stop())
}

// A client that does not answer its last NOTIFY does not hold the end up: notifyTime
// bounds that.
func TestShutdownIsBounded(t *testing.T) {
	p := serveUsers(t, "")
	ph := p.phone("udp", tomURI, `DE\tom`, canary)
	require.NoError(t, ph.SignIn(t.Context()))
	ph.hears(tomURI, "the first NOTIFY", is("unknown", ""))
	ph.vanish()
	began := time.Now()
	require.Zero(t, p.stop())
	require.Less(t, time.Since(began), 20*time.Second, "a NOTIFY that is not answered takes 32 s by itself")
}
