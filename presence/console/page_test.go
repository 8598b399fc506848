package console_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// busy is a line in a call.
var busy = presence.LineState{State: aa.LineBusy}

// staff is a small company in the middle of a day.
func staff() []directory.Entry {
	var list []directory.Entry
	for i, name := range []string{"Ada Lovelace", "Bill Murray", "Grace Hopper", "Ingrid Bergman", "Sean Connery", "Tom Hanks"} {
		id := strings.ToLower(strings.ReplaceAll(name, " ", "."))
		list = append(list, directory.Entry{
			ID: id, Account: `DE\` + id, DisplayName: name, SIP: []string{id + "@example.com"},
			Tel: []string{strconv.Itoa(2719 + i)}, Lines: []string{strconv.Itoa(2719 + i)}, Mail: id + "@example.com",
		})
	}
	return list
}

func (w *world) put(path, body string) {
	w.t.Helper()
	res, text := w.request("PUT", path, body)
	require.Equal(w.t, 204, res.StatusCode, text)
}

func (w *world) day() {
	now := time.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	w.put("/v1/lines/2724", `{"state":"ringing"}`)
	w.put("/v1/lines/2724", `{"state":"busy","forward":"6894"}`)
	w.put("/v1/calendars/tom.hanks@example.com", `[{"id":"1","state":"busy","subject":"Review","location":"Room 4","from":"`+at(-time.Hour)+`","end":"`+at(time.Hour)+`"},`+
		`{"id":"2","state":"busy","subject":"Dentist","location":"Town","from":"`+at(2*time.Hour)+`","end":"`+at(3*time.Hour)+`","private":true}]`)
	w.put("/v1/external/tom.hanks@example.com", `{"status":"away","freeText":"back soon"}`)
	w.put("/v1/external/grace.hopper@example.com", `{"status":"do not disturb","freeText":"compiling"}`)
	w.put("/v1/external/ada.lovelace@example.com", `{"status":"available","freeText":"in the engine room"}`)
	w.put("/v1/lines/2722", `{"state":"busy"}`)
}

// What the page shows: who is what, and why; it moves by itself; keyboard alone is enough.
func TestPageShows(t *testing.T) {
	w := newWorld(t, staff(), nil)
	w.day()
	b := newTab(t, w.web.URL, 1100, 760)
	b.until(`document.querySelectorAll("tbody tr").length === 6 && document.querySelector("#stream").dataset.state === "live"`)
	row := `[...document.querySelectorAll("tbody tr")].find((r) => r.innerText.includes("Tom Hanks"))`
	require.Contains(t, b.eval(row+".innerText"), "busy")
	require.Equal(t, float64(2), b.eval(row+`.querySelectorAll("time").length`), "since when, and until when at least")
	require.Regexp(t, "of at most 200.?000", b.text())
	b.keep("users")

	w.put("/v1/lines/2720", `{"state":"busy"}`) // by the stream, in its row
	b.until(`[...document.querySelectorAll("tbody tr")].find((r) => r.innerText.includes("Bill Murray")).innerText.includes("busy")`)

	b.eval(`document.querySelector("#search").value = "hanks"; document.querySelector("#search").oninput()`)
	b.until(`document.querySelectorAll("tbody tr").length === 1`)

	b.eval(`document.querySelector("tbody a").focus()`)
	b.press("Enter", 13)
	b.until(`document.querySelector("#view h1").innerText === "Tom Hanks" && document.querySelectorAll("table").length >= 4`)
	require.Equal(t, "H1", b.eval("document.activeElement.tagName"), "a screen reader begins there")
	text := b.text()
	for _, want := range []string{"line 2724", "won", "6894", "Review", "Room 4", "private", "changes by itself at", "back soon", `DE\tom.hanks`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "Dentist")
	b.keep("user")

	w.put("/v1/lines/2724", `{"state":"idle"}`)
	b.until(`[...document.querySelectorAll("caption")].some((c) => c.innerText === "Last changes")
		&& [...document.querySelectorAll("tr")].some((r) => r.innerText.includes("2724") && r.innerText.includes("idle"))`)
	require.Equal(t, float64(0), b.eval(`document.querySelectorAll("th:not([scope]), input:not([id]), [onclick], [style]").length`))

	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	require.Equal(t, "rgb(20, 23, 27)", b.eval(`getComputedStyle(document.body).backgroundColor`))
	b.keep("user-dark")

	b.eval(`location.hash = "#/users/" + encodeURIComponent("sip:nobody@example.com")`)
	b.until(`document.querySelector("#problem").innerText.includes("no entry")`)
	for _, view := range []string{"subscriptions", "clients", "publications"} {
		b.eval(`location.hash = "#/` + view + `"`)
		b.until(`document.body.dataset.loaded === "#/` + view + `"`)
		require.Contains(t, b.text(), "none")
	}
}

// Several servers: the list of them, in the API and on the page, and why there is none.
func TestPageShowsNodes(t *testing.T) {
	var failing atomic.Bool
	w := newWorld(t, staff(), func(c *console.Config) {
		c.Nodes = func(context.Context) ([]console.Node, error) {
			if failing.Load() {
				return nil, errors.New("no answer")
			}
			return []console.Node{
				{Name: "a", ID: "A1", This: true, State: "alive", Lease: "10s", Renewed: "1.2s", Dialogs: 7},
				{Name: "b", ID: "B1", State: "silent", Lease: "10s", Renewed: "11s"},
			}, nil
		}
	})
	var page struct{ Items []console.Node }
	w.get("/v1/nodes", &page)
	require.Len(t, page.Items, 2)
	require.Equal(t, 7, page.Items[0].Dialogs)
	failing.Store(true)
	res, text := w.request("GET", "/v1/nodes", "")
	require.Equal(t, 503, res.StatusCode)
	require.JSONEq(t, `{"error":"the store cannot be asked: no answer"}`, text)
	failing.Store(false)

	b := newTab(t, w.web.URL, 1100, 760)
	b.until(`!document.querySelector("#nodes").hidden`)
	b.eval(`document.querySelector("#nodes").click()`)
	b.until(`document.querySelectorAll("tbody tr").length === 2`)
	require.Regexp(t, `a \(this one\)\s+alive\s+7\s+1.2s ago`, b.text())
	require.Regexp(t, `b\s+silent\s+0\s+11s ago`, b.text())
}

// A store that hangs is not waited for.
func TestNodesHang(t *testing.T) {
	w := newWorld(t, staff(), func(c *console.Config) {
		c.Nodes = func(ctx context.Context) ([]console.Node, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	res, text := w.request("GET", "/v1/nodes", "")
	require.Equal(t, 503, res.StatusCode)
	require.JSONEq(t, `{"error":"the store cannot be asked: it does not answer"}`, text)
}

// One server has no such list.
func TestNoNodes(t *testing.T) {
	w := newWorld(t, staff(), nil)
	res, _ := w.request("GET", "/v1/nodes", "")
	require.Equal(t, 404, res.StatusCode)
}

// Who watches, and what they said to the last NOTIFY; everything leads to its user.
func TestPageShowsWatchers(t *testing.T) {
	w := newWorld(t, staff(), nil)
	answered := make(chan *sipx.Response, 2)
	for _, user := range []string{"sean.connery", "ada.lovelace"} {
		w.server.ServeSIP(t.Context(), answer{answered}, sipxtest.NewRequest(`SUBSCRIBE sip:`+user+`@example.com SIP/2.0
From: <sip:tom.hanks@example.com>;tag=`+user+`
To: <sip:`+user+`@example.com>
Call-ID: `+user+`
CSeq: 1 SUBSCRIBE
Contact: <sip:tom.hanks@192.0.2.7>
Event: presence
Expires: 300
Content-Length: 0

`))
		require.Equal(t, 200, (<-answered).Status)
	}
	b := newTab(t, w.web.URL+"/#/subscriptions", 1200, 700)
	b.until(`document.querySelectorAll("tbody tr").length === 2`)
	b.until(`[...document.querySelectorAll("tbody tr")].every((r) => r.innerText.includes("200 OK, "))`)
	b.keep("subscriptions")
	b.eval(`[...document.querySelectorAll("tbody a")].find((a) => a.innerText.includes("sean")).click()`)
	b.until(`document.querySelector("#view h1").innerText === "Sean Connery" && document.body.innerText.includes("200 OK")`)
}

// answer takes the answer to a request.
type answer struct{ to chan *sipx.Response }

func (a answer) Respond(res *sipx.Response) error {
	a.to <- res
	return nil
}

// Text from elsewhere is text: nothing of it runs, whoever wrote it.
func TestHostileText(t *testing.T) {
	const evil = `<img src=x onerror=pwned=1><script>pwned=1</script>`
	entries := staff()
	entries[5].DisplayName = evil
	entries[5].ID = `"><svg onload=pwned=1>`
	w := newWorld(t, entries, nil)
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	w.put("/v1/external/tom.hanks@example.com", `{"status":"available","freeText":"`+quoted+` javascript:pwned=1 `+strings.Repeat("W", 600)+`"}`)
	w.put("/v1/calendars/tom.hanks@example.com", `[{"id":"1","state":"busy","subject":"`+quoted+`","location":"`+quoted+`","from":"`+
		time.Now().UTC().Format(time.RFC3339)+`","end":"`+time.Now().UTC().Add(time.Hour).Format(time.RFC3339)+`"}]`)
	b := newTab(t, w.web.URL, 1000, 700)
	for _, hash := range []string{"#/users", "#/users/sip%3Atom.hanks%40example.com", `#/<img src=x onerror=pwned=1>`} {
		b.eval("location.hash = " + strconv.Quote(hash))
		b.until(`document.querySelectorAll("tbody tr").length > 0 && document.body.innerText.includes("onerror=pwned")`)
		require.Equal(t, "undefined", b.eval("typeof pwned"))
		require.Equal(t, float64(0), b.eval(`document.querySelectorAll("main img, main script, main svg").length`))
		require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(1000), "it does not push the page out of its window")
	}
	blocked := b.eval(`new Promise((done) => {
		document.addEventListener("securitypolicyviolation", () => done(true));
		const s = document.createElement("script");
		s.textContent = "pwned = 1";
		document.body.append(s);
	})`)
	require.Equal(t, true, blocked, "and if it did, the policy holds")
}

// A telephone: nothing is cut off, and fingers hit.
func TestNarrowWindow(t *testing.T) {
	w := newWorld(t, staff(), nil)
	w.day()
	b := newTab(t, w.web.URL, 360, 740)
	b.until(`document.querySelectorAll("tbody tr").length === 6`)
	require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(360))
	require.GreaterOrEqual(t, b.eval(`Math.min(...[...document.querySelectorAll("#view input, #view select, #view button")].map((e) => e.offsetHeight))`), float64(36))
	b.keep("users-narrow")
	b.eval(`location.hash = "#/users/sip%3Atom.hanks%40example.com"`)
	b.until(`document.querySelectorAll("table").length >= 4`)
	require.LessOrEqual(t, b.eval("document.documentElement.scrollWidth"), float64(360))
	b.keep("user-narrow")
}

// A stream that is lost is said, and found again.
func TestLostStream(t *testing.T) {
	var down atomic.Bool
	var inner http.Handler
	w := newWorld(t, staff(), nil)
	inner = w.web.Config.Handler
	w.web.Config.Handler = http.HandlerFunc(func(res http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler) // as where nothing listens
		}
		inner.ServeHTTP(res, r)
	})
	b := newTab(t, w.web.URL, 1000, 700)
	b.until(`document.querySelector("#stream").dataset.state === "live"`)
	require.Equal(t, true, b.eval(`document.querySelector("#lost").hidden`))
	down.Store(true)
	w.web.CloseClientConnections()
	b.until(`document.querySelector("#stream").dataset.state === "lost" && !document.querySelector("#lost").hidden`)
	require.Contains(t, b.text(), "may be old")
	b.keep("lost")
	down.Store(false)
	w.put("/v1/lines/2719", `{"state":"busy"}`) // while it is away
	b.until(`document.querySelector("#stream").dataset.state === "live" && document.querySelector("#lost").hidden`)
	b.until(`[...document.querySelectorAll("tbody tr")].find((r) => r.innerText.includes("Ada")).innerText.includes("busy")`)
}

// The page asks for the token, says that one is wrong, and goes on with the right one.
func TestPageAsksForToken(t *testing.T) {
	w := newWorld(t, staff(), func(c *console.Config) { c.Token = func() auth.Secret { return auth.NewSecret([]byte("right")) } })
	b := newTab(t, w.web.URL, 800, 600)
	b.until(`!document.querySelector("#login").hidden`)
	for _, token := range []string{"wrong", "right"} {
		b.eval(`document.querySelector("#token").value = "` + token + `"; document.querySelector("#login").requestSubmit()`)
		if token == "wrong" {
			b.until(`!document.querySelector("#refused").hidden`)
		}
	}
	b.until(`document.querySelectorAll("tbody tr").length === 6 && document.querySelector("#stream").dataset.state === "live"`)
}

// 10,000 users, and all of them change: the page draws one part of the list, and ends
// with what is so.
func TestManyUsers(t *testing.T) {
	w := newWorld(t, people(10_000), nil)
	b := newTab(t, w.web.URL, 1000, 700)
	b.until(`document.querySelectorAll("tbody tr").length === 50 && document.querySelector("#stream").dataset.state === "live"`)
	require.Regexp(t, "1 to 50 of 10.?000", b.text())
	feed := w.server.Feed()
	for _, e := range people(10_000) {
		require.NoError(t, feed.SetLine(t.Context(), e.Lines[0], busy))
	}
	b.until(`[...document.querySelectorAll("tbody tr")].every((r) => r.innerText.includes("busy"))`)
	b.until(`/^10.?000 busy$/m.test(document.querySelector(".counts").innerText)`)
	b.eval(`[...document.querySelectorAll("button")].find((x) => x.innerText === "Next").click()`)
	b.until(`/51 to 100 of 10.?000/.test(document.body.innerText)`)
}
