package blackbox_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Presence as JSON, key for key as server.md prints it, and as a document.
func TestPresenceCall(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	p.publish("", tuplesBody("available", "", "open", "closed", "open"))
	s.put("/v1/lines/2719", `{"state":"busy","forward":"6894"}`)
	s.put("/v1/calendars/tom@example.com", "["+appointment("1", "tentative", stamp(-time.Hour), stamp(time.Hour))+"]")
	s.put("/v1/external/"+tom, `{"status":"available","freeText":"x"}`)
	v := s.object("/v1/presence/" + tom)
	keys := func(m any) []string {
		var names []string
		for k := range m.(map[string]any) {
			names = append(names, k)
		}
		return names
	}
	require.ElementsMatch(t, []string{"entity", "status", "note", "services", "devices", "blustar", "calendar", "external"}, keys(v))
	require.Equal(t, tom, v["entity"])
	require.Equal(t, "busy", v["status"])
	require.Equal(t, "In a call", v["note"])
	services := v["services"].(map[string]any)
	require.Equal(t, "open", services["audio"])
	require.Equal(t, "closed", services["video"])
	device := v["devices"].([]any)[0].(map[string]any)
	require.Equal(t, "2719", device["dn"])
	require.Equal(t, "busy", device["state"])
	require.Equal(t, "6894", device["forward"])
	own := v["blustar"].(map[string]any)
	require.Equal(t, "available", own["status"])
	require.Equal(t, "", own["note"])
	_, err := time.Parse(time.RFC3339, own["timestamp"].(string))
	require.NoError(t, err)
	item := v["calendar"].([]any)[0].(map[string]any)
	require.Equal(t, "tentative", item["state"])
	require.Equal(t, "x", v["external"].(map[string]any)["freeText"])

	// Nothing known: the same keys, and lists that are lists.
	v = s.object("/v1/presence/" + ted)
	require.Equal(t, "signed out", v["status"], "BSP-2.4-8")
	require.Equal(t, "Signed out", v["note"])
	require.Equal(t, []any{}, v["devices"])
	require.Equal(t, []any{}, v["calendar"])

	for _, accept := range []string{"", "*/*", "application/pidf+xml"} {
		code, header, body := s.call("GET", "/v1/presence/"+tom, "", "Accept", accept)
		require.Equal(t, 200, code)
		require.Contains(t, header.Get("Content-Type"), "application/pidf+xml", accept)
		require.Equal(t, "busy", parseDocument(t, body).status())
		require.Equal(t, tom, parseDocument(t, body).Entity)
	}
}

// The ways to write an address (server.md).
func TestAddresses(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.line("2719", "busy")
	for _, address := range []string{"sip:tom@example.com", "tom@example.com", "tel:2719", "sip%3Atom%40example.com",
		"sip:TOM@Example.com", "sip:tom.hanks@astra.com:5060", "tel%3A2719", "sips:tom@example.com", "sip:%2574om@example.com"} {
		require.Equal(t, "busy", s.status(address), address)
		v := s.object("/v1/explain/" + address)
		require.Equal(t, "busy", v["status"], address)
	}
	s.put("/v1/external/tel:%2B491234", `{"status":"busy"}`)
	require.Equal(t, "busy", s.status("sip:zoe@example.com"))
	s.put("/v1/external/tel:+49-12.34", `{"status":"away"}`)
	require.Equal(t, "away", s.status("sip:zoe@example.com"))
	s.put("/v1/lines/"+url.PathEscape("27/19"), `{"state":"idle"}`)
	s.put("/v1/calendars/"+url.PathEscape("tom@example.com"), `[`+appointment("1", "busy", stamp(-time.Hour), stamp(time.Hour))+`]`)
	s.line("2719", "idle")
	require.Equal(t, "In a meeting", s.object("/v1/presence/tom@example.com")["note"])
	s.put("/v1/calendars/TOM@example.com", `[]`)
	require.Equal(t, "signed out", s.status(tom))
	// An address without an entry is an error for an operator, who mistyped it.
	for _, c := range [][2]string{{"GET", "/v1/presence/"}, {"GET", "/v1/explain/"}, {"PUT", "/v1/external/"}} {
		code, _, answer := s.call(c[0], c[1]+"sip:nobody@example.com", `{"status":"busy"}`, "Accept", "application/json")
		require.Equal(t, 404, code)
		require.Contains(t, answer, "address")
	}
}

// Errors are 4xx with {"error":…} that names the field (server.md).
func TestErrors(t *testing.T) {
	t.Parallel()
	s := start(t)
	when := appointment("1", "busy", stamp(0), stamp(time.Hour))
	for _, c := range []struct {
		method, path, body, names string
	}{
		{"PUT", "/v1/lines/2719", `{"state":"off-hook"}`, "state"},
		{"PUT", "/v1/lines/2719", `{}`, "state"},
		{"PUT", "/v1/lines/2719", `{"state":7}`, "state"},
		{"PUT", "/v1/lines/2719", `{"state":"idle","forwards":"1"}`, "forwards"},
		{"PUT", "/v1/lines/2719", `{"state":"idle"`, ""},
		{"PUT", "/v1/lines/2719", ``, ""},
		{"PUT", "/v1/lines/2719", `[]`, ""},
		{"PUT", "/v1/lines/2719", `{"state":"idle"}{}`, ""},
		{"PUT", "/v1/calendars/tom@example.com", `{}`, ""},
		{"PUT", "/v1/calendars/tom@example.com", `[{"id":"1","state":"bored","from":"2026-01-02T10:00:00Z","end":"2026-01-02T11:00:00Z"}]`, "state"},
		{"PUT", "/v1/calendars/tom@example.com", `[{"id":"1","state":"busy","end":"2026-01-02T11:00:00Z"}]`, "from"},
		{"PUT", "/v1/calendars/tom@example.com", `[{"id":"1","state":"busy","from":"2026-01-02T10:00:00Z"}]`, "end"},
		{"PUT", "/v1/calendars/tom@example.com", `[{"id":"1","state":"busy","from":"yesterday","end":"2026-01-02T11:00:00Z"}]`, "from"},
		{"PUT", "/v1/calendars/tom@example.com", `[{"id":"1","state":"busy","from":"2026-01-02T12:00:00Z","end":"2026-01-02T11:00:00Z"}]`, "end"},
		{"PUT", "/v1/calendars/tom@example.com", `[` + strings.Replace(when, "subject", "topic", 1) + `]`, "topic"},
		{"PUT", "/v1/external/" + tom, `{"status":"asleep"}`, "status"},
		{"PUT", "/v1/external/" + tom, `{"state":"busy"}`, "state"},
		{"PUT", "/v1/external/" + tom, `{"status":"busy","freetext":5}`, "free"},
		{"PUT", "/v1/external/http:x", `{"status":"busy"}`, "address"},
		{"GET", "/v1/presence/nonsense", ``, "address"},
		{"GET", "/v1/explain/tel:", ``, "address"},
		{"GET", "/v1/presence/%00@x", ``, ""},
		{"GET", "/v1/subscriptions?limit=-1", ``, "limit"},
		{"GET", "/v1/nothing", ``, ""},
		{"DELETE", "/v1/presence/" + tom, ``, ""},
		{"POST", "/v1/lines/2719", `{"state":"idle"}`, ""},
		{"GET", "/v1/lines/2719", ``, ""},
	} {
		code, header, answer := s.call(c.method, c.path, c.body, "Accept", "application/json")
		require.GreaterOrEqual(t, code, 400, "%+v", c)
		require.Less(t, code, 500, "%+v %s", c, answer)
		var v map[string]string
		require.NoError(t, json.Unmarshal([]byte(answer), &v), "%+v %s", c, answer)
		require.NotEmpty(t, v["error"], "%+v", c)
		require.Contains(t, v["error"], c.names, "%+v", c)
		require.Contains(t, header.Get("Content-Type"), "application/json", "%+v", c)
	}
	code, _, _ := s.call("PUT", "/v1/lines/2719", `{"state":"idle","forward":"`+strings.Repeat("1", 3<<20)+`"}`)
	require.Contains(t, []int{400, 413}, code)
	require.Equal(t, "signed out", s.status(tom))
}

// Explain says which rule won and what each source says (BSX-1).
func TestExplain_BSX_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	p.publish("", statusBody("available", "hello"))
	s.line("2719", "busy")
	end := stamp(time.Hour)
	s.put("/v1/calendars/tom@example.com", "["+appointment("1", "busy", stamp(-time.Hour), end)+"]")
	s.put("/v1/external/"+tom, `{"status":"away"}`)
	v := s.object("/v1/explain/" + tom)
	require.Equal(t, "busy", v["status"])
	require.Equal(t, "hello", v["note"])
	require.Equal(t, "call", v["rule"])
	require.Equal(t, end, v["next_change"])
	sources := map[string]map[string]any{}
	for _, item := range v["sources"].([]any) {
		source := item.(map[string]any)
		sources[source["source"].(string)] = source
		_, err := time.ParseDuration(source["age"].(string))
		require.NoError(t, err, "%v", source)
		require.Contains(t, source, "lifetime")
		require.Contains(t, source, "value")
	}
	require.Equal(t, "busy", sources["line 2719"]["value"], "%v", v)
	require.GreaterOrEqual(t, len(sources), 4, "%v", v)
	require.Regexp(t, `^(1h0m0s|59m\d+s)$`, sources["blustar"]["lifetime"], "as long as the publication (BSX-2)")
	v = s.object("/v1/explain/" + ted)
	require.Equal(t, "signed out", v["status"])
}

// Lists are paged, and empty when all has ended; metrics are Prometheus'.
func TestListsEndEmpty(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/v1/subscriptions", "/v1/clients", "/v1/publications"} {
		require.Empty(t, s.list(path), path)
	}
	var phones []*phone
	var dialogs []*dialog
	for _, user := range []string{tom, bill, joe} {
		p := s.phone("udp", user)
		dialogs = append(dialogs, p.subscribe(user), p.subscribeList(user, ted))
		p.publish("", statusBody("busy", "secret-note"))
		phones = append(phones, p)
	}
	require.Len(t, s.list("/v1/subscriptions"), 6)
	require.Len(t, s.list("/v1/clients"), 3)
	require.Len(t, s.list("/v1/publications"), 3)
	require.Len(t, s.list("/v1/subscriptions?limit=4"), 4)
	code, header, metrics := s.call("GET", "/metrics", "")
	require.Equal(t, 200, code)
	require.Contains(t, header.Get("Content-Type"), "text/plain")
	require.Regexp(t, regexp.MustCompile(`(?m)^blustar\w* 6(\.0)?$`), metrics, "the subscriptions are counted")
	// A label ends with a quote. The count of bytes that this machine has sent may hold any digits.
	for _, private := range []string{"tom", "bill@", "secret-note", `2719"`} {
		require.NotContains(t, metrics, private, "no user in a metric")
	}
	for _, p := range phones {
		p.do(p.publishRequest("0", "", ""), 200)
	}
	for _, d := range dialogs {
		d.ended("timeout")
	}
	for _, path := range []string{"/v1/subscriptions", "/v1/clients", "/v1/publications"} {
		require.Eventually(t, func() bool { return len(s.list(path)) == 0 }, patience, 10*time.Millisecond, path)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		code, _, _ := s.call("GET", path, "")
		require.Equal(t, 200, code, path)
	}
}

// A token file guards the control API.
func TestToken(t *testing.T) {
	t.Parallel()
	s := start(t, `{"http":{"listen":"127.0.0.1:0","token_file":"token"}}`)
	s.line("2719", "busy")
	require.Equal(t, "busy", s.status(tom))
	good := s.token
	for _, bad := range []string{"x", "s3cret-toke", "s3cret-token2"} {
		s.token = bad
		for _, path := range []string{"/v1/presence/" + tom, "/v1/subscriptions", "/v1/events", "/v1/explain/" + tom, "/v1/nothing"} {
			code, header, answer := s.call("GET", path, "")
			require.Equal(t, 401, code, path)
			require.Contains(t, header.Get("WWW-Authenticate"), "Bearer")
			require.Contains(t, answer, `"error"`)
		}
		code, _, _ := s.call("PUT", "/v1/lines/2719", `{"state":"idle"}`)
		require.Equal(t, 401, code)
	}
	s.token = ""
	code, _, _ := s.call("GET", "/v1/presence/"+tom, "")
	require.Equal(t, 401, code)
	s.token = good
	require.Equal(t, "busy", s.status(tom))
	require.NotContains(t, s.log(), good)
}

// Pages of other origins cannot reach the API through a browser on the host.
func TestNoRebinding(t *testing.T) {
	t.Parallel()
	s := start(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.http+"/v1/clients", nil)
	require.NoError(t, err)
	req.Host = "attacker.example"
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Contains(t, []int{403, 421}, resp.StatusCode)
}

// One server-sent event per change of a consolidated state (server.md).
func TestEvents(t *testing.T) {
	t.Parallel()
	s := start(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.http+"/v1/events", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Content-Type"), "text/event-stream")
	type event struct{ Entity, Status, Note, Timestamp string }
	events := make(chan event, 100)
	go func() {
		in := bufio.NewScanner(resp.Body)
		name := ""
		for in.Scan() {
			line := in.Text()
			if rest, ok := strings.CutPrefix(line, "event: "); ok {
				name = rest
			}
			if rest, ok := strings.CutPrefix(line, "data: "); ok && name == "presence" {
				var e event
				if json.Unmarshal([]byte(rest), &e) == nil {
					events <- e
				}
			}
		}
	}()
	await := func() event {
		t.Helper()
		select {
		case e := <-events:
			return e
		case <-time.After(patience):
			t.Fatal("no event")
			return event{}
		}
	}
	p := s.phone("udp", tom)
	etag := p.publish("", statusBody("busy", ""))
	e := await()
	require.Equal(t, "busy", e.Status)
	require.Equal(t, "Busy", e.Note)
	require.Equal(t, tom, e.Entity)
	_, err = time.Parse(time.RFC3339, e.Timestamp)
	require.NoError(t, err)
	p.publish(etag, statusBody("busy", "")) // no change
	s.line("2719", "ringing")               // nor of the consolidated state
	s.line("2719", "busy")
	require.Equal(t, "In a call", await().Note)
	s.line("2719", "idle")
	require.Equal(t, "Busy", await().Note)
	p.do(p.publishRequest("0", "", ""), 200)
	require.Equal(t, "signed out", await().Status)
}
