package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a console before a presence server with some users.
type world struct {
	t      *testing.T
	server *presence.Server
	stream *console.Stream
	web    *httptest.Server
}

func newWorld(t *testing.T, entries []directory.Entry, change func(*console.Config)) *world {
	t.Helper()
	users, err := directory.NewMemory(entries)
	require.NoError(t, err)
	w := &world{t: t, stream: new(console.Stream)}
	w.server, err = presence.New(presence.Config{
		Sender: new(sipxtest.NullSender), Directory: users, Hooks: presence.Hooks{Changed: w.stream.Changed},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.server.Shutdown(context.Background()) })
	cfg := console.Config{Server: w.server, Stream: w.stream, Users: users.All}
	if change != nil {
		change(&cfg)
	}
	handler, err := console.New(cfg)
	require.NoError(t, err)
	w.web = httptest.NewServer(handler)
	t.Cleanup(w.web.Close)
	t.Cleanup(w.stream.Close)
	return w
}

// people are n users: "User 00001" with line 10001 and so on.
func people(n int) []directory.Entry {
	var list []directory.Entry
	for i := range n {
		name, number := fmt.Sprintf("user%05d", i+1), fmt.Sprint(10001+i)
		list = append(list, directory.Entry{
			ID: name, Account: `DE\` + name, DisplayName: fmt.Sprintf("User %05d", i+1),
			SIP: []string{name + "@example.com"}, Tel: []string{number}, Lines: []string{number, "9" + number}, Mail: name + "@example.com",
		})
	}
	return list
}

func (w *world) request(method, path, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.web.URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res, string(text)
}

func (w *world) get(path string, into any) {
	w.t.Helper()
	res, text := w.request("GET", path, "")
	require.Equal(w.t, 200, res.StatusCode, text)
	require.NoError(w.t, json.Unmarshal([]byte(text), into), text)
}

func TestConfig(t *testing.T) {
	_, err := console.New(console.Config{})
	require.ErrorContains(t, err, "Server and Stream are required")
}

// What was set is shown as a PUT takes it, and can be removed.
func TestWhatWasSet(t *testing.T) {
	w := newWorld(t, people(1), nil)
	from := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	end := time.Now().UTC().Add(time.Hour).Truncate(time.Second).Format(time.RFC3339)
	for path, body := range map[string]string{
		"/v1/lines/10001":                     `{"state":"busy","forward":"6894"}`,
		"/v1/lines/910001":                    `{"state":"idle","forward":""}`, // a line that is no address of its user
		"/v1/calendars/User00001@example.com": `[{"id":"1","state":"busy","subject":"Plan","location":"Room","from":"` + from + `","end":"` + end + `","allday":false,"private":false}]`,
		"/v1/external/user00001@example.com":  `{"status":"away","freeText":"lunch","fwdDestination":"","telephoneEvent":""}`,
	} {
		res, _ := w.request("GET", path, "")
		require.Equal(t, 404, res.StatusCode, path)
		res, text := w.request("PUT", path, body)
		require.Equal(t, 204, res.StatusCode, text)
		res, text = w.request("GET", path, "")
		require.Equal(t, 200, res.StatusCode, path)
		require.JSONEq(t, body, text)
		require.NotEmpty(t, res.Header.Get("Last-Modified"))
		res, _ = w.request("DELETE", path, "")
		require.Equal(t, 204, res.StatusCode, path)
		res, _ = w.request("GET", path, "")
		require.Equal(t, 404, res.StatusCode, path)
	}
}

// What is private in an appointment is not shown (BSP-3.2-6).
func TestPrivateAppointment(t *testing.T) {
	w := newWorld(t, people(1), nil)
	now := time.Now().UTC()
	body := `[{"id":"1","state":"busy","subject":"Secret","location":"Secret place","private":true,"from":"` +
		now.Add(-time.Hour).Format(time.RFC3339) + `","end":"` + now.Add(time.Hour).Format(time.RFC3339) + `"}]`
	res, _ := w.request("PUT", "/v1/calendars/user00001@example.com", body)
	require.Equal(t, 204, res.StatusCode)
	for _, path := range []string{"/v1/calendars/user00001@example.com", "/v1/users/user00001@example.com", "/v1/users", "/v1/presence/user00001@example.com", "/v1/explain/tel:10001"} {
		res, text := w.request("GET", path, "", "Accept", "application/json")
		require.Equal(t, 200, res.StatusCode)
		require.NotContains(t, text, "Secret", path)
	}
}

// A line or mailbox that no entry has is kept, with a warning.
func TestNobodysLine(t *testing.T) {
	w := newWorld(t, people(1), nil)
	for path, body := range map[string]string{
		"/v1/lines/4711": `{"state":"busy"}`, "/v1/calendars/nobody@example.com": `[]`, "/v1/calendars/nobody": `[]`,
	} {
		res, text := w.request("PUT", path, body)
		require.Equal(t, 202, res.StatusCode, path)
		var answer struct{ Warning string }
		require.NoError(t, json.Unmarshal([]byte(text), &answer))
		require.Contains(t, answer.Warning, "no entry of the directory has", path)
		res, _ = w.request("GET", path, "")
		require.Equal(t, 200, res.StatusCode, "it is kept")
	}
}

// A directory that cannot be asked is no reason for a warning.
func TestDirectoryDown(t *testing.T) {
	stream := new(console.Stream)
	server, err := presence.New(presence.Config{
		Sender: new(sipxtest.NullSender), Hooks: presence.Hooks{Changed: stream.Changed},
		Directory: directory.Func(func(context.Context, directory.Address) (directory.Entry, error) {
			return directory.Entry{}, errors.New("down")
		}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	handler, err := console.New(console.Config{Server: server, Stream: stream})
	require.NoError(t, err)
	for path, want := range map[string]int{"/v1/lines/1": 204, "/v1/external/tel:1": 503} {
		res := httptest.NewRecorder()
		body := map[int]string{204: `{"state":"busy"}`, 503: `{"status":"busy"}`}[want]
		handler.ServeHTTP(res, httptest.NewRequest("PUT", "http://localhost"+path, strings.NewReader(body)))
		require.Equal(t, want, res.Code, "%s: %s", path, res.Body)
	}
}

func TestUsers(t *testing.T) {
	w := newWorld(t, people(120), nil)
	res, _ := w.request("PUT", "/v1/lines/10007", `{"state":"busy"}`)
	require.Equal(t, 204, res.StatusCode)
	var list struct {
		Total int
		Next  string
		Items []presence.UserInfo
	}
	w.get("/v1/users?q=USER", &list)
	require.Equal(t, 120, list.Total)
	require.Len(t, list.Items, 100)
	require.Equal(t, "User 00001", list.Items[0].Name)
	require.Equal(t, "/v1/users?limit=100&offset=100&q=USER", list.Next)
	w.get("/v1/users?status=busy", &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, "sip:user00007@example.com", list.Items[0].Entity)
	for search, want := range map[string]int{"10042": 1, "user00003@": 1, `de\user0001`: 10, "in a CALL": 1, "nobody": 0} {
		w.get("/v1/users?q="+strings.ReplaceAll(search, " ", "%20"), &list)
		require.Equal(t, want, list.Total, search)
	}
	var sum struct{ Statuses map[string]int }
	w.get("/v1/summary", &sum)
	require.Equal(t, map[string]int{"busy": 1}, sum.Statuses, "of those whom the server holds")
}

// Everything about one user, with the last changes.
func TestUser(t *testing.T) {
	w := newWorld(t, people(2), nil)
	for _, state := range []string{"busy", "idle", "ringing", "busy"} {
		res, _ := w.request("PUT", "/v1/lines/10001", `{"state":"`+state+`"}`)
		require.Equal(t, 204, res.StatusCode)
	}
	var u struct {
		DisplayName string `json:"display_name"`
		Entity      string
		Explain     struct {
			Rule    string
			Sources []struct {
				Source string
				Won    bool
			}
		}
		Presence struct{ Devices []struct{ DN, State string } }
		Timeline []struct{ Status, Note, Timestamp string }
		Watchers []presence.SubscriptionInfo
	}
	w.get("/v1/users/tel:10001", &u)
	require.Equal(t, "User 00001", u.DisplayName)
	require.Equal(t, "sip:user00001@example.com", u.Entity)
	require.Equal(t, "call", u.Explain.Rule)
	require.Equal(t, "busy", u.Presence.Devices[0].State)
	require.NotEmpty(t, u.Timeline)
	require.Equal(t, "busy", u.Timeline[0].Status, "the newest comes first")
	require.NotNil(t, u.Watchers)
	w.get("/v1/users/user00002@example.com", &u)
	require.Empty(t, u.Timeline)
}

// Nothing but the page's own script and style runs in it.
func TestPage(t *testing.T) {
	w := newWorld(t, nil, nil)
	for path, mediaType := range map[string]string{
		"/": "text/html; charset=utf-8", "/console.js": "text/javascript; charset=utf-8",
		"/console.css": "text/css; charset=utf-8", "/favicon.svg": "image/svg+xml",
	} {
		res, text := w.request("GET", path, "")
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, mediaType, res.Header.Get("Content-Type"))
		policy := res.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		require.NotContains(t, policy, "*")
		require.NotRegexp(t, `(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|style=|onclick="|https?://[^w]`, text)
		res, _ = w.request("GET", path, "", "If-None-Match", res.Header.Get("ETag"))
		require.Equal(t, 304, res.StatusCode)
	}
	res, _ := w.request("GET", "/", "", "Host", "evil.example.com")
	require.Equal(t, 403, res.StatusCode)
}

// Without a token the API answers no browser that another site's page sent, whatever the
// method; who is no browser, or is on the page itself, is answered.
func TestOtherOrigins(t *testing.T) {
	w := newWorld(t, people(1), nil)
	own := "http://" + w.web.Listener.Addr().String()
	for _, c := range []struct {
		name, value string
		refused     bool
	}{
		{"Accept", "application/json", false},
		{"Origin", own, false},
		{"Origin", "https://evil.example.com", true},
		{"Origin", "http://localhost:1", true},
		{"Origin", "null", true},
		{"Sec-Fetch-Site", "same-origin", false},
		{"Sec-Fetch-Site", "none", false}, // typed by the user
		{"Sec-Fetch-Site", "same-site", true},
		{"Sec-Fetch-Site", "cross-site", true},
	} {
		for _, call := range []struct{ method, path string }{
			{"GET", "/v1/clients"}, {"GET", "/v1/users"}, {"HEAD", "/v1/summary"}, {"GET", "/v1/presence/tel:10001"},
			{"PUT", "/v1/lines/10001"},
		} {
			res, text := w.request(call.method, call.path, `{"state":"busy"}`, c.name, c.value)
			require.Equal(t, c.refused, res.StatusCode == http.StatusForbidden, "%v %v: %s", call, c, text)
			require.True(t, c.refused || res.StatusCode/100 == 2, "%v %v: %s", call, c, text)
		}
		res, _ := w.request("GET", "/", "", c.name, c.value)
		require.Equal(t, 200, res.StatusCode, "a link leads to the page")
	}
	secret := newWorld(t, people(1), func(c *console.Config) {
		c.Token = func() auth.Secret { return auth.NewSecret([]byte("one")) }
	})
	res, _ := secret.request("GET", "/v1/users", "", "Origin", "https://evil.example.com", "Authorization", "Bearer one")
	require.Equal(t, 200, res.StatusCode, "who has the token is let in from anywhere")
}

// The token may change while the console runs; health and the page need none.
func TestToken(t *testing.T) {
	var token atomic.Pointer[auth.Secret]
	set := func(s string) { v := auth.NewSecret([]byte(s)); token.Store(&v) }
	set("one")
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "numbers") })
	w := newWorld(t, nil, func(c *console.Config) {
		c.Token = func() auth.Secret { return *token.Load() }
		c.Metrics, c.MetricsToken = metrics, true
		c.Reload = func(context.Context) error { return errors.New("users.json:\nbroken") }
		c.Healthy = func(context.Context) error { return errors.New("no socket") }
	})
	status := func(method, path string, header ...string) int {
		res, _ := w.request(method, path, "", append(header, "Host", "presence.example.com")...)
		return res.StatusCode
	}
	require.Equal(t, 200, status("GET", "/"))
	require.Equal(t, 200, status("GET", "/readyz"))
	require.Equal(t, 503, status("GET", "/healthz"))
	require.Equal(t, 401, status("GET", "/metrics"))
	require.Equal(t, 401, status("GET", "/v1/users"))
	require.Equal(t, 200, status("GET", "/v1/users", "Authorization", "Bearer one"))
	set("two")
	require.Equal(t, 401, status("GET", "/v1/users", "Authorization", "Bearer one"))
	require.Equal(t, 200, status("GET", "/metrics", "Authorization", "Bearer two"))
	require.Equal(t, 401, status("POST", "/v1/reload"))
	res, text := w.request("POST", "/v1/reload", "", "Authorization", "Bearer two")
	require.Equal(t, 422, res.StatusCode)
	require.JSONEq(t, `{"error":"users.json: broken"}`, text)
	res, _ = w.request("GET", "/v1/reload", "", "Authorization", "Bearer two")
	require.Equal(t, 405, res.StatusCode)
}

// A panic ends its request alone.
func TestPanic(t *testing.T) {
	w := newWorld(t, nil, func(c *console.Config) {
		c.More = map[string]http.Handler{"/v1/more": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("bad") })}
	})
	res, _ := w.request("GET", "/v1/more", "")
	require.Equal(t, 500, res.StatusCode)
	res, _ = w.request("GET", "/healthz", "")
	require.Equal(t, 200, res.StatusCode)
}
