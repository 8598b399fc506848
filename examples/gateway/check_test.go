package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/rig"
)

// check runs the command and returns what it prints.
func check(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out strings.Builder
	require.Equal(t, code, run(t.Context(), append([]string{"check"}, args...), &out), &out)
	require.NotContains(t, out.String(), "canary")
	return out.String()
}

// A configuration is looked at without asking anybody.
func TestCheck(t *testing.T) {
	name := write(t, configuration(nil), nil)
	require.Equal(t, "ok: "+name+"\n", check(t, 0, "-config", name))
	name = write(t, configuration(func(c object) { c["log"] = "loud" }), nil)
	require.Contains(t, check(t, 2, "-config", name), `log: "loud"`)
}

// Who does not answer is named, each of them.
func TestCheckOnlineDown(t *testing.T) {
	out := check(t, 1, "-config", write(t, graphConfiguration("http://127.0.0.1:1", nil), nil), "-online", "-user", "sip:alice@example.test")
	require.Contains(t, out, "failed: directory: bind and base: ")
	require.Contains(t, out, "failed: microsoft: token: ")
	require.Contains(t, out, "failed: directory: sip:alice@example.test: ")
}

// graphConfiguration is one whose calendars and Teams are at a server of the test.
func graphConfiguration(server string, change func(object)) object {
	return configuration(func(c object) {
		c["calendar"] = object{"kind": "graph", "interval": 1}
		c["teams"] = object{"read": true, "interval": 1}
		c["microsoft"] = object{"tenant": "example.test", "client_id": "client", "secret_file": "password", "login": server, "graph": server}
		if change != nil {
			change(c)
		}
	})
}

// graph is as much of Microsoft Graph as one user with one mailbox asks for.
type graph struct {
	busy, call func() bool
}

func newGraph(t *testing.T, busy, call func() bool) *httptest.Server {
	server := httptest.NewServer(&graph{busy, call})
	t.Cleanup(server.Close)
	return server
}

func (g *graph) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/oauth2/v2.0/token"):
		fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"token"}`)
	case r.Header.Get("Authorization") != "Bearer token":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"code":"InvalidAuthenticationToken","message":"no"}}`)
	case strings.HasSuffix(path, "/calendarView"):
		const layout = "2006-01-02T15:04:05.0000000"
		event := ""
		if g.busy() {
			event = fmt.Sprintf(`{"id":"1","subject":"secret","sensitivity":"private","showAs":"busy","isAllDay":false,"isCancelled":false,
				"responseStatus":{"response":"organizer"},"location":{"displayName":""},
				"start":{"dateTime":"%s","timeZone":"UTC"},"end":{"dateTime":"%s","timeZone":"UTC"}}`,
				time.Now().UTC().Add(-time.Minute).Format(layout), time.Now().UTC().Add(time.Hour).Format(layout))
		}
		fmt.Fprintf(w, `{"value":[%s]}`, event)
	case strings.HasSuffix(path, "/getPresencesByUserId"):
		state := `"availability":"Available","activity":"Available"`
		if g.call() {
			state = `"availability":"Busy","activity":"InACall"`
		}
		fmt.Fprintf(w, `{"value":[{"id":"00000000-0000-0000-0000-000000000001",%s}]}`, state)
	case strings.HasPrefix(path, "/v1.0/users"):
		user := `{"id":"00000000-0000-0000-0000-000000000001","mail":"alice@example.test","userPrincipalName":"alice@example.test"}`
		if path == "/v1.0/users" {
			user = `{"value":[` + user + `]}`
		}
		fmt.Fprint(w, user)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"code":"Request_ResourceNotFound","message":"no"}}`)
	}
}

// onSlapd has the configuration use a real directory.
func onSlapd(slapd map[string]string) func(object) {
	return func(c object) {
		c["domains"] = []string{slapd["SIP_DOMAIN"]}
		c["tls"] = object{"ca": slapd["CA_FILE"]}
		c["directory"] = object{
			"urls": []string{slapd["URL_TLS"]}, "base_dn": slapd["BASE_DN"],
			"bind_dn": slapd["BIND_DN"], "bind_password_file": "ldap-password", "sip_attributes": []string{slapd["SIP_ATTR"]},
		}
	}
}

// Everybody is asked: a bind, a user, a calendar, a token, the presence in Teams.
func TestCheckOnline(t *testing.T) {
	slapd := rig.Start(t, "slapd")
	server := newGraph(t, func() bool { return true }, func() bool { return true })
	name := write(t, graphConfiguration(server.URL, onSlapd(slapd)), map[string]string{"ldap-password": slapd["BIND_PW"] + "\n"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	require.Zero(t, run(ctx, []string{"check", "-config", name, "-online", "-user", "sip:alice@example.test"}, &out), &out)
	for _, want := range []string{
		"ok: directory: bind and base\n", "ok: microsoft: token\n", "ok: directory: sip:alice@example.test is ", " has 1 appointments\n",
		"ok: teams: sip:alice@example.test is \"busy\"\n",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), slapd["BIND_PW"])
}
