package server

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/pidf/aa"
)

// The directory of the tests. Two entries share the number 300.
const usersJSON = `{"users":[
	{"id":"tom","account":"DE\\tom","display_name":"Tom Hanks","sip":["tom.hanks@example.com"],"tel":["2719"],"lines":["2719"],"mail":"tom.hanks@example.com"},
	{"id":"ann","account":"DE\\ann","sip":["ann@example.com"],"tel":["300"],"lines":["300"],"mail":"ann@example.com"},
	{"id":"bob","account":"DE\\bob","sip":["bob@example.com","b/ob@example.com"],"tel":["300"]}]}`

// canary is the password of all accounts of the tests: nothing may print it.
const canary = "canary:pass\\wörd"

// canaryHash is one hash, so that the password has not changed in a file that is written again.
var canaryHash = sync.OnceValues(func() ([]byte, error) { return bcrypt.GenerateFromPassword([]byte(canary), bcrypt.MinCost) })

func accountsJSON(t *testing.T) string {
	hash, err := canaryHash()
	require.NoError(t, err)
	text, err := json.Marshal(map[string]any{"accounts": []map[string]any{
		{"account": `DE\tom`, "password_hash": string(hash)},
		{"account": `DE\ann`, "password_hash": string(hash)},
		{"account": `fmc`, "password_hash": string(hash), "amcc": true},
	}})
	require.NoError(t, err)
	return string(text)
}

// serveUsers starts the program on free ports. More are members of the
// configuration that come in place of those here.
func serveUsers(t *testing.T, more string) *program {
	t.Helper()
	var members map[string]json.RawMessage
	for _, text := range []string{`"listen":["udp:127.0.0.1:0","tcp:127.0.0.1:0"],"domains":["example.com"],
		"directory":{"file":"users.json"},"accounts":"accounts.json","log":{"level":"debug"},"http":{"listen":"127.0.0.1:0"}`, more} {
		require.NoError(t, json.Unmarshal([]byte("{"+text+"}"), &members))
	}
	text, err := json.Marshal(members)
	require.NoError(t, err)
	folder := files(t, map[string]string{
		"users.json": usersJSON, "accounts.json": accountsJSON(t), "token": "canary-token\n", "server.json": string(text),
	})
	return start(t, "-config", filepath.Join(folder, "server.json"))
}

// answer is a response of the control API.
type answer struct {
	status int
	header http.Header
	body   string
}

// request calls the control API. Header is pairs of names and values.
func (p *program) request(method, path, body string, header ...string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.listening("http")+path, strings.NewReader(body))
	require.NoError(p.t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(p.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(p.t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

// object calls the control API, expects 200, and decodes the JSON.
func (p *program) object(path string) map[string]any {
	p.t.Helper()
	a := p.request("GET", path, "", "Accept", "application/json")
	require.Equal(p.t, 200, a.status, a.body)
	require.Equal(p.t, "application/json", a.header.Get("Content-Type"))
	var v map[string]any
	require.NoError(p.t, json.Unmarshal([]byte(a.body), &v), a.body)
	return v
}

// A line, calendar or external state that nobody watches is kept (BSP-2.5-1,
// BSP-2.6-1, BSP-2.7-1), under each spelling of an address (BSP-2.1-1, 2.1-2,
// BSP-2.1-7, 2.1-9).
func TestSources(t *testing.T) {
	p := serveUsers(t, "")
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"busy","forward":"6894"}`).status)
	now := time.Now().UTC().Truncate(time.Second)
	from, end := now.Add(-time.Hour).Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339)
	require.Equal(t, 204, p.request("PUT", "/v1/calendars/Tom.Hanks@example.com",
		`[{"id":"1","state":"busy","subject":"Study","location":"Room 1","from":"`+from+`","end":"`+end+`","allday":false,"private":true}]`).status)
	require.Equal(t, 204, p.request("PUT", "/v1/external/tel:2719",
		`{"status":"away","freeText":"lunch","fwdDestination":"sip:sean@example.com","telephoneEvent":""}`).status)

	for _, address := range []string{
		"sip:tom.hanks@example.com", "sip%3Atom.hanks%40example.com", "tom.hanks@example.com", "TOM.hanks@Example.com",
		"sips:tom.hanks@example.com", "sip:tom.hanks@example.com:5060;transport=udp", "tel:2719", "tel:27-19;phone-context=x",
	} {
		v := p.object("/v1/presence/" + address)
		require.Equal(t, "busy", v["status"], address)
		require.Equal(t, "In a call", v["note"])
		require.Equal(t, map[string]any{"audio": "closed", "video": "closed", "message": "closed", "global": "closed"}, v["services"])
		require.Equal(t, []any{map[string]any{"dn": "2719", "state": "busy", "forward": "6894"}}, v["devices"])
		own := v["blustar"].(map[string]any)
		require.Equal(t, "signed out", own["status"])
		require.Empty(t, own["note"])
		require.Equal(t, []any{map[string]any{ // BSP-3.2-6: private
			"id": "1", "state": "busy", "subject": "", "location": "", "from": from, "end": end, "allday": false, "private": true,
		}}, v["calendar"])
		require.Equal(t, map[string]any{
			"status": "away", "freeText": "lunch", "fwdDestination": "sip:sean@example.com", "telephoneEvent": "",
		}, v["external"])
	}
	require.Equal(t, "tel:2719", p.object("/v1/presence/tel:27-19;phone-context=x")["entity"])
	require.Equal(t, "sip:b/ob@example.com", p.object("/v1/presence/sip:b%2Fob@example.com")["entity"])

	a := p.request("GET", "/v1/presence/tel:2719", "")
	require.Equal(t, "application/pidf+xml", a.header.Get("Content-Type"))
	doc, err := aa.Decode([]byte(a.body))
	require.NoError(t, err)
	require.Equal(t, "tel:2719", doc.Entity)
	require.Equal(t, aa.LineBusy, aa.LineOf(&doc.Devices[0]).State)

	// BSX-1
	e := p.object("/v1/explain/sip:tom.hanks@example.com")
	require.Equal(t, "busy", e["status"])
	require.Equal(t, "In a call", e["note"])
	require.Equal(t, "call", e["rule"])
	require.Equal(t, end, e["next_change"])
	sources := e["sources"].([]any)
	require.Len(t, sources, 4, "the server says that nobody has signed in")
	line := sources[1].(map[string]any)
	require.Equal(t, "line 2719", line["source"])
	require.Equal(t, "busy", line["value"])
	require.Regexp(t, `^\d+s$`, line["age"])
	require.Equal(t, "", line["lifetime"])
	require.Equal(t, true, line["won"])
	calendar := sources[2].(map[string]any)
	require.Equal(t, "calendar 1", calendar["source"])
	require.Regexp(t, `^(1h0m0s|59m\d+s)$`, calendar["lifetime"])

	require.Equal(t, 204, p.request("DELETE", "/v1/external/sip:tom.hanks@example.com", "").status)
	require.Nil(t, p.object("/v1/presence/tel:2719")["external"])
	require.Equal(t, 204, p.request("PUT", "/v1/calendars/tom.hanks@example.com", `[]`).status)
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719?lifetime=1h", `{"state":"idle"}`).status)
	e = p.object("/v1/explain/tel:2719")
	require.Equal(t, "signed out", e["status"])
	require.NotNil(t, e["next_change"], "the line's lifetime ends")
	require.Regexp(t, `^(1h0m0s|59m\d+s)$`, e["sources"].([]any)[1].(map[string]any)["lifetime"])
}

func TestAPIErrors(t *testing.T) {
	p := serveUsers(t, "")
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // what the error begins with
	}{
		{"GET", "/index.html", "", 404, "path: "},
		{"GET", "/v1/lines/", "", 404, "path: "},
		{"GET", "/v2/clients", "", 404, "path: "},
		{"POST", "/v1/lines/1", "", 405, "method: POST"},
		{"GET", "/v1/lines/1", "", 404, "path: nothing was set"},
		{"GET", "/v1/calendars/tom.hanks@example.com", "", 404, "path: nothing was set"},
		{"GET", "/v1/external/tel:2719", "", 404, "path: nothing was set"},
		{"GET", "/v1/external/nobody@example.com", "", 404, "address: "},
		{"GET", "/v1/users/nobody@example.com", "", 404, "address: "},
		{"POST", "/v1/users", "", 405, "method: POST"},
		{"POST", "/v1/presence/tel:1", "", 405, "method: POST"},
		{"DELETE", "/v1/subscriptions", "", 405, "method: DELETE"},
		{"PUT", "/metrics", "", 405, "method: PUT"},
		{"PUT", "/v1/lines/2719", ``, 400, "body: no complete JSON value"},
		{"PUT", "/v1/lines/2719", `{"state":`, 400, "body: no complete JSON value"},
		{"PUT", "/v1/lines/2719", `[]`, 400, "body: want an object"},
		{"PUT", "/v1/lines/2719", `{"state":"idle"} x`, 400, "body: text after"},
		{"PUT", "/v1/lines/2719", `{}`, 400, "state: "},
		{"PUT", "/v1/lines/2719", `{"state":"engaged"}`, 400, "state: "},
		{"PUT", "/v1/lines/2719", `{"state":1}`, 400, "state: want a string"},
		{"PUT", "/v1/lines/2719", `{"state":"idle","fwd":"1"}`, 400, "fwd: unknown key"},
		{"PUT", "/v1/lines/2719", `{"state":"idle","state":"busy"}`, 400, "state: is there twice"},
		{"PUT", "/v1/lines/2719", `{"state":"idle","forward":null}`, 400, "forward: null"},
		{"PUT", "/v1/lines/2719", `{"state":"idle","forward":"` + strings.Repeat("9", 2000) + `"}`, 400, "forward: "},
		{"PUT", "/v1/lines/%20", `{"state":"idle"}`, 400, "dn: "},
		{"PUT", "/v1/lines/2719?lifetime=soon", `{"state":"idle"}`, 400, "lifetime: "},
		{"PUT", "/v1/lines/2719", `{"state":"idle","forward":"` + strings.Repeat("9", 1<<20) + `"}`, 413, "body: larger"},
		{"PUT", "/v1/calendars/tom@x", `{}`, 400, "body: want a list"},
		{"PUT", "/v1/calendars/tom@x", `[{"id":"1","state":"busy","end":"2026-01-02T10:00:00Z"}]`, 400, "[0].from: missing"},
		{"PUT", "/v1/calendars/tom@x", `[{"id":"1","state":"busy","from":"2026-01-02T10:00:00Z"}]`, 400, "[0].end: missing"},
		{"PUT", "/v1/calendars/tom@x", `[{"state":"busy","from":"today"}]`, 400, "[0].from: want a time"},
		{"PUT", "/v1/calendars/tom@x", `[{"state":"late","from":"2026-01-02T10:00:00Z","end":"2026-01-02T11:00:00Z"}]`, 400, "[0].state: "},
		{"PUT", "/v1/calendars/tom@x", `[{"state":"busy","from":"2026-01-02T10:00:00Z","end":"2026-01-02T10:00:00Z"}]`, 400, "[0].end: "},
		{"PUT", "/v1/calendars/tom@x", `[{"state":"busy","from":"2026-01-02T10:00:00Z","end":"2026-01-02T11:00:00Z"},{"private":"no"}]`, 400, "[1].private: want true or false"},
		{"PUT", "/v1/calendars/tom@x?lifetime=-1s", `[]`, 400, "lifetime: "},
		{"PUT", "/v1/external/tel:2719", `{"status":"gone"}`, 400, "status: "},
		{"PUT", "/v1/external/tel:2719?lifetime=1", `{"status":"busy"}`, 400, "lifetime: "},
		{"PUT", "/v1/external/tel:2719", `{"status":"busy","freetext":"x"}`, 400, "freetext: unknown key"},
		{"PUT", "/v1/external/mailto:a@b", `{"status":"busy"}`, 400, "address: "},
		{"PUT", "/v1/external/nobody@example.com", `{"status":"busy"}`, 404, "address: "},
		{"DELETE", "/v1/external/nobody@example.com", ``, 404, "address: "},
		{"GET", "/v1/presence/nobody@example.com", "", 404, "address: "},
		{"GET", "/v1/presence/not%20an%20address", "", 400, "address: "},
		{"GET", "/v1/presence/tel:300", "", 409, "address: "},
		{"GET", "/v1/explain/nobody@example.com", "", 404, "address: "},
		{"GET", "/v1/explain/%00", "", 400, "address: "},
		{"GET", "/v1/subscriptions?limit=0", "", 400, "limit: "},
		{"GET", "/v1/clients?limit=many", "", 400, "limit: "},
		{"GET", "/v1/publications?offset=-1", "", 400, "offset: "},
	} {
		name := c.method + " " + c.path + " " + c.body
		t.Run(name[:min(len(name), 80)], func(t *testing.T) {
			a := p.request(c.method, c.path, c.body)
			require.Equal(t, c.status, a.status, a.body)
			require.Equal(t, "application/json", a.header.Get("Content-Type"))
			var body struct{ Error string }
			require.NoError(t, json.Unmarshal([]byte(a.body), &body), a.body)
			require.True(t, strings.HasPrefix(body.Error, c.want), "%q, want %q", body.Error, c.want)
			if c.status == 405 {
				require.NotEmpty(t, a.header.Get("Allow"))
			}
		})
	}
	require.Equal(t, "DELETE, GET, PUT", p.request("POST", "/v1/external/tel:1", "").header.Get("Allow"))
}

func TestToken(t *testing.T) {
	p := serveUsers(t, `"http":{"listen":"127.0.0.1:0","token_file":"token"}`)
	for _, path := range []string{"/v1/clients", "/v1/events", "/v1/presence/tel:2719", "/v1/forwardings", "/nothing"} {
		for _, header := range [][]string{
			nil, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic canary-token"}, {"Authorization", "canary-token"},
			{"Authorization", "Bearer canary-token2"}, {"Authorization", "Bearer "},
		} {
			a := p.request("GET", path, "", header...)
			require.Equal(t, 401, a.status, "%s %v", path, header)
			require.Contains(t, a.header.Get("WWW-Authenticate"), "Bearer")
			require.Contains(t, a.body, `"error"`)
		}
	}
	require.Equal(t, 200, p.request("GET", "/v1/clients", "", "Authorization", "bearer  canary-token").status)
	require.Equal(t, 200, p.request("GET", "/healthz", "", "Authorization", "Bearer canary-token", "Host", "presence.example.com").status)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/console.js"} {
		require.Equal(t, 200, p.request("GET", path, "", "Host", "presence.example.com").status, path)
	}
	require.NotContains(t, p.stderr.String(), "canary")
}

// Without a token a web page in a browser on this machine gets nothing.
func TestBrowsersAreKeptOut(t *testing.T) {
	p := serveUsers(t, "")
	require.Equal(t, 403, p.request("GET", "/v1/clients", "", "Host", "evil.example.com").status)
	a := p.request("PUT", "/v1/lines/2719", `{"state":"busy"}`, "Sec-Fetch-Site", "cross-site")
	require.Equal(t, 403, a.status)
	require.JSONEq(t, `{"error":"Origin: want this server's own"}`, a.body)
	require.Equal(t, 200, p.request("GET", "/v1/clients", "", "Host", "localhost:1").status)
}

func TestHealth(t *testing.T) {
	p := serveUsers(t, "")
	require.Equal(t, "{\"status\":\"ok\"}\n", p.request("GET", "/healthz", "").body)
	require.Equal(t, 200, p.request("GET", "/readyz", "").status)
	require.Empty(t, p.request("HEAD", "/healthz", "").body)
}

// BSP-2.1-8: it starts, and is not ready, while the directory is down.
func TestNotReady(t *testing.T) {
	p := serveUsers(t, `"directory":{"ldap":{"url":"ldap://127.0.0.1:1","base_dn":"dc=x"}}`)
	require.Equal(t, 200, p.request("GET", "/healthz", "").status)
	a := p.request("GET", "/readyz", "")
	require.Equal(t, 503, a.status)
	require.Contains(t, a.body, `{"error":"directory: `)
	a = p.request("GET", "/v1/presence/tel:2719", "")
	require.Equal(t, 503, a.status, "down is not \"no entry\"")
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"busy"}`).status)
	require.Contains(t, p.request("GET", "/metrics", "").body, "blustar_directory_up 0")
}

func TestMetrics(t *testing.T) {
	p := serveUsers(t, "")
	text := p.request("GET", "/metrics", "").body
	for _, name := range []string{
		"blustar_subscriptions 0", "blustar_auth_decisions_total{decision=\"accepted\"} 0", "blustar_notifies_under_way 0",
		"go_goroutines ", "process_open_fds ", "blustar_presence_changes_total",
	} {
		require.Contains(t, text, "\n"+name)
	}
}

func TestEvents(t *testing.T) {
	p := serveUsers(t, "")
	stream := p.events()
	require.Equal(t, ": listening", stream.next())
	require.Empty(t, stream.next())
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"ringing"}`).status) // not held by anybody: no event
	p.object("/v1/presence/tel:2719")
	p.stop()
	for stream.scanner.Scan() {
		require.NotContains(t, stream.scanner.Text(), "event:")
	}
	require.NoError(t, stream.scanner.Err(), "the server ends the stream in order")
}

// stream reads /v1/events.
type stream struct {
	t       *testing.T
	scanner *bufio.Scanner
}

func (p *program) events() *stream {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), "GET", "http://"+p.listening("http")+"/v1/events", nil)
	require.NoError(p.t, err)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = res.Body.Close() })
	require.Equal(p.t, 200, res.StatusCode)
	require.Equal(p.t, "text/event-stream", res.Header.Get("Content-Type"))
	return &stream{p.t, bufio.NewScanner(res.Body)}
}

func (s *stream) next() string {
	s.t.Helper()
	require.True(s.t, s.scanner.Scan(), "the stream has ended: %v", s.scanner.Err())
	return s.scanner.Text()
}

func TestForwardings(t *testing.T) {
	f := newForwardings(slog.New(slog.DiscardHandler))
	tom := demoUsers()[0].Entry
	require.NoError(t, f.Forward(context.Background(), tom, "sip:sean@example.com"))
	require.Equal(t, "sip:sean@example.com", f.list()[0].Destination)
	require.NoError(t, f.Forward(context.Background(), tom, ""))
	require.Empty(t, f.list())
}
