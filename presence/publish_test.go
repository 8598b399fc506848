package presence_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/sipx"
)

// BSP-2.4-1, BSP-2.4-2, BSP-2.4-4: the first PUBLISH creates the entity-tag,
// those that name it keep it, from whichever of the user's clients.
func TestPublish(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	w.net.take()
	desk, mobile := w.client("tom", "192.0.2.8"), w.client("tom", "192.0.2.9")

	res := desk.status("", "busy", "HELLO")
	require.Equal(t, 200, res.Status, res.Reason)
	require.Equal(t, "3600", res.Header.Get("Expires"))
	require.Equal(t, "<sip:192.0.2.1:5060>", res.Header.Get("Contact"))
	tag := etag(res)
	require.NotEmpty(t, tag)
	require.Equal(t, shown{"sip:tom@example.com", "busy", "HELLO", "busy", "gam"}, watcher.one().shown(t))

	res = mobile.status(tag, "do not disturb", "")
	require.Equal(t, 200, res.Status)
	require.Equal(t, tag, etag(res))
	require.Equal(t, shown{"sip:tom@example.com", "other:unavailable", "Unavailable", "do not disturb", "gam"}, watcher.one().shown(t))
}

// BSP-2.4-3: a client's first PUBLISH does not overwrite live state: its status
// and note are ignored, its tuples count.
func TestFirstPublishOfAnotherClient(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	tag := etag(w.client("tom", "192.0.2.8").status("", "busy", "HELLO"))
	w.net.take()

	second := w.client("tom", "192.0.2.9")
	body := strings.Replace(bluStarBody("available", "NEW"), `"video"><status><basic>closed`, `"video"><status><basic>open`, 1)
	res := second.publish("", body)
	require.Equal(t, 200, res.Status)
	require.Equal(t, tag, etag(res))
	require.Equal(t, shown{"sip:tom@example.com", "busy", "HELLO", "busy", "gavm"}, watcher.one().shown(t))

	require.Equal(t, tag, etag(second.status("", "available", "NEW")), "clients from before 01.06 know no ETags")
	require.Equal(t, shown{"sip:tom@example.com", "other:available", "NEW", "available", "gam"}, watcher.one().shown(t))
}

// BSP-2.4-3: a client that starts, or starts again, is told what is shown where
// what it published was ignored; what it publishes next counts.
func TestIgnoredPublishIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.client("tom", "192.0.2.8").status("", "do not disturb", "HELLO")
		kept := shown{"sip:tom@example.com", "other:unavailable", "HELLO", "do not disturb", "gam"}
		e := w.number("192.0.2.9")
		for _, next := range []string{"busy", "away"} { // before the second it has crashed
			own, _ := e.subscribe("sip:tom@example.com")
			list, _ := e.list("sip:tom@example.com", "sip:bob@example.com")
			w.net.take()
			require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("available", "")).Status)
			sent := w.net.take()
			require.Len(t, sent, 1, "one of its own subscriptions is told")
			require.Equal(t, kept, append(own.of(sent), list.of(sent)...)[0].shown(t))
			require.Equal(t, 200, e.publishAs("tom", "", bluStarBody(next, "x")).Status)
			kept = watcher.of(w.net.take())[0].shown(t)
			require.Equal(t, next, kept.blustar)
			require.Equal(t, 200, own.refresh().Status)
			require.Equal(t, 200, list.refresh().Status)
		}
	})
}

// BSP-2.4-5: a status with an entity-tag from before counts as one without; where
// its client starts, it is ignored as that.
func TestPublishWithOldTag(t *testing.T) {
	w := newWorld(t)
	e := w.number("192.0.2.9")
	own, _ := e.subscribe("sip:tom@example.com")
	w.net.take()
	require.Equal(t, 200, e.publishAs("tom", "18762", bluStarBody("busy", "")).Status)
	require.Equal(t, "busy", own.one().shown(t).activity)
	require.Equal(t, 200, e.publishAs("tom", "18762", bluStarBody("available", "")).Status)
	require.Equal(t, "other:available", own.one().shown(t).activity)
	require.Equal(t, 200, w.client("tom", "192.0.2.8").status("18762", "do not disturb", "").Status)
	require.Empty(t, w.net.take(), "it starts")
}

// BSP-2.4-5, BSP-2.8-1: an unknown entity-tag in a refresh is 412; a refresh
// keeps, prolongs and notifies nobody.
func TestPublishRefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		tom := w.client("tom", "192.0.2.8")
		require.Equal(t, 412, tom.publish("18762", "").Status)
		require.Equal(t, 412, w.standard("tom", "192.0.2.7").publish("18762", pidfBody("open", "", "")).Status)
		require.Equal(t, 200, tom.publish("18762", "", "Expires: 0").Status, "it has ended, whatever it was")
		require.Equal(t, 400, tom.publish("", "").Status)

		tag := etag(tom.status("", "busy", "HELLO"))
		w.net.take()
		for range 3 {
			time.Sleep(50 * time.Minute)
			watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			require.Equal(t, "busy", watcher.one().shown(t).activity)
			res := tom.publish(tag, "")
			require.Equal(t, 200, res.Status)
			require.Equal(t, tag, etag(res))
			require.Empty(t, w.net.take())
			require.Equal(t, 200, tom.publish("", "").Status, "with and without If-Match")
		}
	})
}

// BSP-4.3-1: how long a publication is granted.
func TestPublishExpires(t *testing.T) {
	w := newWorld(t)
	tom := w.client("tom", "192.0.2.8")
	for asked, want := range map[string]string{"3600": "3600", "7200": "3600", "60": "60", "100": "100"} {
		require.Equal(t, want, tom.publish("", bluStarBody("busy", ""), "Expires: "+asked).Header.Get("Expires"))
	}
	res := tom.publish("", bluStarBody("busy", ""), "Expires: 59")
	require.Equal(t, 423, res.Status)
	require.Equal(t, "60", res.Header.Get("Min-Expires"))
}

// BSP-2.4-8: until the first PUBLISH the status is unknown.
func TestStatusBeforeFirstPublish(t *testing.T) {
	w := newWorld(t)
	own, _ := w.client("tom", "192.0.2.8").subscribe("sip:tom@example.com")
	require.Equal(t, shown{"sip:tom@example.com", "other:unknown", "", "unknown", "gam"}, own.one().shown(t))
}

// BSP-2.4-6: the presentity of a PUBLISH is its To, whatever the Request-URI and
// the document say.
func TestPresentityOfPublish(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("bob", "192.0.2.7").subscribe("sip:tom@example.com")
	w.net.take()
	req := w.client("ann", "192.0.2.8").request("PUBLISH", "sip:ann@example.com", "<sip:tom@example.com:5060>", "p", 1, bluStarBody("busy", ""),
		"Event: presence", "Expires: 3600", "Content-Type: application/pidf+xml")
	require.Equal(t, 200, w.send(req).Status)
	require.Equal(t, "busy", watcher.one().shown(t).activity)
}

// BSP-3.2-7: watchers of the Standard dialect see away and other as RPID has them,
// and BluStar watchers too where a setting says so.
func TestAllStatuses(t *testing.T) {
	for _, all := range []bool{true, false} {
		w := newWorld(t, func(c *presence.Config) { c.AllStatuses = all })
		blu, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		rfc, _ := w.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
		w.client("tom", "192.0.2.8").status("", "inactive", "")
		sent := w.net.take()
		require.Equal(t, "away", rfc.of(sent)[len(rfc.of(sent))-1].shown(t).activity)
		require.Equal(t, map[bool]string{true: "away", false: "busy"}[all], blu.of(sent)[len(blu.of(sent))-1].shown(t).activity)
		view, err := w.server.Presence(t.Context(), "sip:tom@example.com")
		require.NoError(t, err)
		require.Equal(t, map[bool]string{true: "away", false: "busy"}[all], shownOf(view.Document).activity)
		require.Equal(t, consolidation.StatusAway, view.Result.Status)
	}
}

// BSP-2.10-3, BSP-2.4-1: entity-tags are up to 9 digits, as printed.
func TestEntityTagAsPrinted(t *testing.T) {
	w := newWorld(t)
	for range 100 {
		tag := etag(w.client("tom", "192.0.2.8").status("", "busy", ""))
		require.Regexp(t, `^[0-9]{1,9}$`, tag)
		require.Equal(t, tag, etag(w.client("tom", "192.0.2.8").publish(tag, "", "Expires: 0")))
	}
}

// BSP-4.3-8: a note of more than 1024 bytes, or what is configured, is 413, which
// says how many there may be.
func TestLongNote(t *testing.T) {
	for most, configured := range map[int]int{aa.MaxNote: 0, 2000: 2000} {
		w := newWorld(t, func(c *presence.Config) { c.MaxNote = configured })
		tom := w.client("tom", "192.0.2.8")
		require.Equal(t, 200, tom.status("", "busy", strings.Repeat("é", most/2)).Status)
		for _, res := range []*sipx.Response{
			tom.status("", "busy", strings.Repeat("é", most/2)+"x"),
			w.standard("ann", "192.0.2.9").publish("", pidfBody("open", "", strings.Repeat("x", most+1))),
		} {
			require.Equal(t, 413, res.Status)
			require.Contains(t, res.Reason, strconv.Itoa(most))
		}
	}
}

// BSP-4.3-3: publishing "signed out" closes the services of that client; the user
// is shown signed out where no other client is live that has not.
func TestPublishedSignedOut(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	desk, mobile := w.client("tom", "192.0.2.8"), w.client("tom", "192.0.2.9")
	own, _ := desk.subscribe("sip:tom@example.com")
	video := strings.Replace(bluStarBody("busy", "HELLO"), `"video"><status><basic>closed`, `"video"><status><basic>open`, 1)
	tag := etag(desk.publish("", video))
	require.Equal(t, 200, mobile.status(tag, "busy", "HELLO").Status)
	w.net.take()
	newest := func() shown {
		list := watcher.of(w.net.take())
		require.NotEmpty(t, list)
		return list[len(list)-1].shown(t)
	}
	require.Equal(t, 200, desk.status(tag, "signed out", "").Status)
	require.Equal(t, shown{"sip:tom@example.com", "busy", "HELLO", "busy", "gam"}, newest())
	require.Equal(t, 200, mobile.status(tag, "signed out", "").Status)
	require.Equal(t, signedOut, newest())
	require.Equal(t, 200, desk.status(tag, "available", "").Status)
	require.Equal(t, shown{"sip:tom@example.com", "other:available", "Available", "available", "gam"}, newest())
	require.Equal(t, 200, own.refresh().Status)
	require.Equal(t, 200, own.end().Status)
	require.Equal(t, signedOut, newest(), "who remains has signed out")
	require.Equal(t, tag, etag(mobile.publish(tag, "")), "and is still there")
}

// BSP-4.3-2, BSP-3.2-1: which statuses are taken, and how they are shown.
func TestPublishedStatuses(t *testing.T) {
	for status, want := range map[string]shown{
		"available":      {activity: "other:available", note: "Available"},
		"busy":           {activity: "busy", note: "Busy"},
		"do not disturb": {activity: "other:unavailable", note: "Unavailable"},
		"away":           {activity: "busy", note: "Away"},
		"inactive":       {activity: "busy", note: "Inactive"},
		"be right back":  {activity: "busy", note: "Be right back"},
		"other":          {activity: "busy", note: "Other"},
		"unknown":        {activity: "other:unknown"},
		" busy ":         {activity: "busy", note: "Busy", blustar: "busy"},
	} {
		t.Run(status, func(t *testing.T) {
			w := newWorld(t)
			watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			w.net.take()
			require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", status, "").Status)
			n := w.net.take()[0] // services open, whatever the status
			want.entity, want.services = "sip:tom@example.com", "gam"
			if want.blustar == "" {
				want.blustar = status
			}
			require.Equal(t, want, watcher.of([]*notify{n})[0].shown(t))
		})
	}
	w := newWorld(t)
	for _, status := range []string{"", "sleeping", "Busy!", "dnd"} {
		require.Equal(t, 400, w.client("tom", "192.0.2.8").status("", status, "").Status, status)
	}
}

// BSP-4.3-3: a note is set, kept where the document has none, deleted by an
// empty one; "signed out" is not the end of the client.
func TestPublishedNote(t *testing.T) {
	w := newWorld(t)
	tom := w.client("tom", "192.0.2.8")
	own, _ := tom.subscribe("sip:tom@example.com")
	tag := etag(tom.status("", "busy", "HELLO"))
	w.net.take()
	noNote := strings.Replace(bluStarBody("available", ""), `<aa:note xml:lang="Eng"></aa:note>`, "", 1)
	require.Equal(t, 200, tom.publish(tag, noNote).Status)
	require.Equal(t, "HELLO", own.one().shown(t).note)
	require.Equal(t, 200, tom.publish(tag, strings.Replace(noNote, `</aa:status>`, `</aa:status><aa:note xml:lang="Eng" />`, 1)).Status)
	require.Equal(t, "Available", own.one().shown(t).note)
	require.Equal(t, 200, tom.status(tag, "signed out", "").Status)
	require.Equal(t, signedOut, own.one().shown(t))
	require.Equal(t, 200, own.refresh().Status)
	require.Equal(t, 200, tom.publish(tag, "").Status)
}

// BSP-4.3-4, BSP-4-5: what is wrong with a PUBLISH is answered as such, and
// changes nothing.
func TestBadPublish(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.MaxBody = 5000 })
	tom := w.client("tom", "192.0.2.8")
	send := func(body string, fields ...string) func() (int, string) {
		return func() (int, string) {
			res := w.send(tom.request("PUBLISH", "sip:192.0.2.1", "<sip:tom@example.com>", "b", 1, body, fields...))
			return res.Status, res.ReasonPhrase()
		}
	}
	good := bluStarBody("busy", "")
	for _, tt := range []struct {
		name   string
		do     func() (int, string)
		status int
		names  string
	}{
		{"no Expires", send(good, "Event: presence", "Content-Type: application/pidf+xml"), 400, "Expires"},
		{"unknown event", send(good, "Event: message-summary", "Expires: 300"), 489, ""},
		{"no controller", send("", "Event: lyncforwarding", "Expires: 300"), 489, ""},
		{"body type", send(good, "Event: presence", "Expires: 300", "Content-Type: text/plain"), 415, ""},
		{"no body type", send(good, "Event: presence", "Expires: 300"), 415, ""},
		{"not well-formed", send("<presence", "Event: presence", "Expires: 300", "Content-Type: application/pidf+xml"), 400, ""},
		{"another document", send(resourceLists("sip:a@x"), "Event: presence", "Expires: 300", "Content-Type: application/pidf+xml"), 400, ""},
		{"too large", send(good+strings.Repeat(" ", 5000), "Event: presence", "Expires: 300", "Content-Type: application/pidf+xml"), 413, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, reason := tt.do()
			require.Equal(t, tt.status, status, reason)
			require.Contains(t, reason, tt.names)
		})
	}
	anonymous := w.client("tom", "x")
	anonymous.contact = ""
	res := anonymous.status("", "busy", "")
	require.Equal(t, 400, res.Status)
	require.Contains(t, res.Reason, "Contact")
	require.Equal(t, 404, w.client("nobody", "192.0.2.8").status("", "busy", "").Status)
	require.Zero(t, w.server.Stats().Publications)
	require.Zero(t, w.server.Stats().Clients)
}

// BSP-3-6: the charset parameter of Content-Type goes before what the document declares, and bytes that are not in the
// encoding assumed are refused without effect.
func TestPublishInCharset(t *testing.T) {
	bare := bluStarBody("busy", "caf\xE9")
	declared := func(encoding string) string { return `<?xml version="1.0" encoding="` + encoding + `"?>` + bare }
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"declared", "application/pidf+xml", declared("ISO-8859-1"), 200},
		{"parameter", "application/pidf+xml;charset=ISO-8859-1", bare, 200},
		{"parameter in quotes", `application/pidf+xml; Charset="iso-8859-1"`, bare, 200},
		{"parameter differs", "application/pidf+xml;charset=ISO-8859-1", declared("UTF-8"), 200},
		{"parameter is wrong", "application/pidf+xml;charset=UTF-8", declared("ISO-8859-1"), 400},
		{"unknown", "application/pidf+xml;charset=koi8-r", bare, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tom := w.client("tom", "192.0.2.8")
			own, _ := tom.subscribe("sip:tom@example.com")
			w.net.take()
			res := w.send(tom.request("PUBLISH", "sip:192.0.2.1", "<sip:tom@example.com>", "b", 1, tt.body,
				"Event: presence", "Expires: 300", "Content-Type: "+tt.contentType))
			require.Equal(t, tt.status, res.Status, res.ReasonPhrase())
			if tt.status == 200 {
				require.Equal(t, "café", own.one().shown(t).note)
			} else {
				require.Zero(t, w.server.Stats().Publications)
			}
		})
	}
}

// BSP-4.3-5: a service is open where one of the user's live clients has it; who
// published no tuples has audio and message; "global service" while any lives.
func TestServices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Empty(t, watcher.one().shown(t).services)
		quiet, _ := w.client("tom", "192.0.2.8").subscribe("sip:tom@example.com")
		require.Equal(t, "gam", watcher.of(w.net.take())[0].shown(t).services)

		camera := w.client("tom", "192.0.2.9")
		body := strings.NewReplacer(`"video"><status><basic>closed`, `"video"><status><basic>open`,
			`"audio"><status><basic>open`, `"audio"><status><basic>closed`).Replace(bluStarBody("busy", ""))
		require.Equal(t, 200, camera.publish("", body).Status)
		require.Equal(t, "gavm", watcher.of(w.net.take())[0].shown(t).services)
		require.Equal(t, 200, quiet.end().Status)
		require.Equal(t, "gvm", watcher.of(w.net.take())[0].shown(t).services)
		require.Equal(t, 200, camera.publish("", "", "Expires: 0").Status)
		require.Equal(t, shown{"sip:tom@example.com", "other:signed out", "Signed out", "signed out", ""}, watcher.of(w.net.take())[0].shown(t))
	})
}

// BSP-4.3-5: a client that publishes tuples alone says what it can do; the status and
// note of its user stay as they are.
func TestTuplesAloneAreNoStatus(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	tom := w.client("tom", "192.0.2.8")
	tag := etag(tom.status("", "busy", "HELLO"))
	w.net.take()
	res := tom.publish(tag, `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com">`+
		`<tuple id="audio"><status><basic>open</basic></status></tuple><tuple id="video"><status><basic>open</basic></status></tuple></presence>`)
	require.Equal(t, 200, res.Status)
	require.Equal(t, shown{"sip:tom@example.com", "busy", "HELLO", "busy", "gav"}, watcher.one().shown(t))
}

// BSP-2.5-2: a PUBLISH that changes nothing but times notifies nobody.
func TestNothingNew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		tom := w.client("tom", "192.0.2.8")
		tom.subscribe("sip:tom@example.com")
		tag := etag(tom.status("", "busy", "HELLO"))
		w.net.take()
		time.Sleep(time.Minute)
		require.Equal(t, 200, tom.status(tag, "busy", "HELLO").Status)
		require.Empty(t, w.net.take())
	})
}

// A PUBLISH that a newer one of the same client has overtaken is refused, although
// the entity-tag stays the same in this dialect.
func TestOvertakenPublish(t *testing.T) {
	w := newWorld(t)
	tom := w.client("tom", "192.0.2.8")
	own, _ := tom.subscribe("sip:tom@example.com")
	tag := etag(tom.status("", "busy", ""))
	w.net.take()
	send := func(cseq int, status string, want int) {
		req := tom.request("PUBLISH", "sip:192.0.2.1", "<sip:tom@example.com>", "same", cseq, bluStarBody(status, strconv.Itoa(cseq)),
			"Event: presence", "Expires: 3600", "SIP-If-Match: "+tag, "Content-Type: application/pidf+xml")
		require.Equal(t, want, w.send(req).Status)
	}
	send(3, "available", 200)
	send(2, "do not disturb", 500)
	require.Equal(t, "3", own.one().shown(t).note)
}

// BSX-4: the clients of one user are bounded.
func TestMaxClients(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.MaxClients = 2 })
	for i, want := range []int{200, 200, 403} {
		require.Equal(t, want, w.client("tom", "192.0.2.1"+strconv.Itoa(i)).status("", "busy", "").Status)
	}
	_, res := w.client("tom", "192.0.2.20").subscribe("sip:tom@example.com")
	require.Equal(t, 403, res.Status)
	require.Equal(t, 2, w.server.Stats().Clients)
	require.Equal(t, 0, w.server.Stats().Watches)
}

// BSX-1, BSX-2: what a client published holds as long as its publication, which
// a refresh prolongs.
func TestLifetimeOfOwnStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		tom := w.client("tom", "192.0.2.8")
		tag := etag(tom.status("", "busy", ""))
		for range 2 {
			e, err := w.server.Explain(t.Context(), "sip:tom@example.com")
			require.NoError(t, err)
			require.Equal(t, "blustar", e.Claims[0].Source)
			require.Equal(t, time.Now().Add(time.Hour), e.Claims[0].Expires)
			time.Sleep(10 * time.Minute)
			require.Equal(t, 200, tom.publish(tag, "").Status)
		}
	})
}
