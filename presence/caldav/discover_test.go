package caldav_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/caldav"
)

// answers has PROPFINDs answered by path: a status, or a multi-status.
func (d *dav) answers(byPath map[string]string) {
	d.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		answer, ok := byPath[r.URL.Path]
		if !ok || r.Method != "PROPFIND" {
			return false
		}
		var status int
		if _, err := fmt.Sscanf(answer, "%d", &status); err == nil {
			w.WriteHeader(status)
			return true
		}
		if strings.HasPrefix(answer, "<html>") {
			fmt.Fprint(w, answer)
			return true
		}
		multistatus(w, answer)
		return true
	})
}

const (
	isCalendar = `<resourcetype><collection/><C:calendar/></resourcetype><C:supported-calendar-component-set><C:comp name="VEVENT"/></C:supported-calendar-component-set>`
	atTom      = `<current-user-principal><href>/tom/</href></current-user-principal>`
)

// TestDiscovery: what one part of it answers hides none of the others (RFC 4918 §13,
// §14.24, RFC 4791 §6.2.1).
func TestDiscovery(t *testing.T) {
	homes := func(hrefs ...string) string {
		return found("/tom/", "<C:calendar-home-set><href>"+strings.Join(hrefs, "</href><href>")+"</href></C:calendar-home-set>")
	}
	refused := func(href, status string) string {
		return `<response><href>` + href + `</href><status>HTTP/1.1 ` + status + `</status></response>`
	}
	unreadable := func(href, status string) string {
		return `<response><href>` + href + `</href><propstat><prop><resourcetype/></prop><status>HTTP/1.1 ` + status + `</status></propstat></response>`
	}
	work := found("/tom/work/", isCalendar)
	for name, tt := range map[string]struct {
		url     string
		answers map[string]string
	}{
		"two homes, the second empty":   {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/home/": work, "/shared/": found("/shared/", "")}},
		"two homes, the first empty":    {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/shared/": work, "/home/": found("/home/", "")}},
		"two homes, the first refused":  {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/home/": "403", "/shared/": work}},
		"two homes, the second gone":    {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/home/": work, "/shared/": "404"}},
		"two homes, the second broken":  {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/home/": work, "/shared/": "500"}},
		"two homes, the second a page":  {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/home/": work, "/shared/": "<html>Welcome</html>"}},
		"two homes, with the same":      {"/", map[string]string{"/tom/": homes("/home/", "/shared/"), "/home/": work, "/shared/": work}},
		"a home on another host":        {"/", map[string]string{"/tom/": homes("https://evil.example.org/home/", "/home/"), "/home/": work}},
		"homes by http behind a proxy":  {"/", map[string]string{"/tom/": homes("http://dav.example.com:8080/home/"), "/home/": work}},
		"one collection forbidden":      {"/", map[string]string{"/tom/": homes("/home/"), "/home/": work + refused("/home/shared/", "403 Forbidden")}},
		"one collection gone, in front": {"/", map[string]string{"/tom/": homes("/home/"), "/home/": refused("/home/shared/", "404 Not Found") + work}},
		"one collection without rights": {"/", map[string]string{"/tom/": homes("/home/"), "/home/": unreadable("/home/shared/", "403 Forbidden") + work}},
		"one collection broken":         {"/", map[string]string{"/tom/": homes("/home/"), "/home/": unreadable("/home/shared/", "500 Internal Server Error") + work}},
		"a response without anything":   {"/", map[string]string{"/tom/": homes("/home/"), "/home/": `<response><href>/home/x/</href></response>` + work}},
		"a response without href":       {"/", map[string]string{"/tom/": homes("/home/"), "/home/": `<response><propstat><prop>` + isCalendar + `</prop><status>HTTP/1.1 200 OK</status></propstat></response>` + work}},
		"the home is the calendar":      {"/", map[string]string{"/tom/": homes("/tom/work/"), "/tom/work/": work}},
		"properties in two parts": {"/", map[string]string{"/tom/": homes("/home/"), "/home/": `<response><href>/tom/work/</href>` +
			`<propstat><prop><resourcetype><collection/><C:calendar/></resourcetype></prop><status>HTTP/1.1 200 OK</status></propstat>` +
			`<propstat><prop><C:supported-calendar-component-set><C:comp name="VEVENT"/></C:supported-calendar-component-set></prop><status>HTTP/1.1 200 OK</status></propstat></response>`}},
		"no slash, not found":       {"/dav", map[string]string{"/dav": "404", "/.well-known/caldav": "404", "/dav/": found("/dav/", atTom)}},
		"no slash, a page":          {"/dav", map[string]string{"/dav": "<html>Welcome</html>", "/.well-known/caldav": "<html>Welcome</html>", "/dav/": found("/dav/", atTom)}},
		"no slash, not allowed":     {"/dav/x", map[string]string{"/dav/x": "405", "/dav/x/": found("/dav/x/", atTom)}},
		"no slash, but well-known":  {"/dav", map[string]string{"/dav": "404", "/dav/": "404", "/.well-known/caldav": found("/", atTom)}},
		"no slash in the principal": {"/", map[string]string{"/": found("/", `<current-user-principal><href>/tom</href></current-user-principal>`), "/tom": "404"}},
		"no slash in the home":      {"/", map[string]string{"/tom/": homes("/home"), "/home": "404", "/home/": work}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.put("a", at("a", time.Hour))
				members := tt.answers["/tom/work/"]
				delete(tt.answers, "/tom/work/")
				d.answers(tt.answers)
				if members != "" { // of a calendar that is a home: by depth
					rest := d.before
					d.intercept(func(w http.ResponseWriter, r *http.Request) bool {
						if r.URL.Path == "/tom/work/" && r.Header.Get("Depth") == "1" && r.Method == "PROPFIND" {
							multistatus(w, members)
							return true
						}
						return rest(w, r)
					})
				}
				cfg := config(d)
				cfg.URL = "https://dav.example.com" + tt.url
				w := start(t, cfg)
				require.Equal(t, []string{"a"}, ids(w.last()))
				w.cancel()
			})
		})
	}
	for name, answers := range map[string]map[string]string{
		"no home":         {"/tom/": found("/tom/", "")},
		"no calendar":     {"/tom/": homes("/home/"), "/home/": found("/home/", "")},
		"homes elsewhere": {"/tom/": homes("https://evil.example.org/home/")},
		"no principal":    {"/": found("/", "<current-user-principal><unauthenticated/></current-user-principal>"), "/.well-known/caldav": "404"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.answers(answers)
				err, ended := start(t, config(d)).result()
				require.True(t, ended)
				require.ErrorIs(t, err, caldav.ErrNoCalendar)
			})
		})
	}
	t.Run("the only home refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.answers(map[string]string{"/tom/": homes("/home/"), "/home/": "403"})
			err, ended := start(t, config(d)).result()
			require.True(t, ended)
			require.ErrorContains(t, err, "403")
		})
	})
}

// byPath sends requests to one of several.
type byPath map[string]*dav

func (b byPath) RoundTrip(r *http.Request) (*http.Response, error) { return b[r.URL.Path].RoundTrip(r) }

// TestOneCalendarFails: a calendar that cannot be read hides none of the others. What
// was known of it stays for as long as failing polls are tolerated; what it never said
// is not missed.
func TestOneCalendarFails(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		stays  bool // for a while
	}{
		"401":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, false},
		"403":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, false},
		"404":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, false},
		"405":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(405) }, false},
		"410":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, false},
		"423":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(423) }, false},
		"500":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, true},
		"503":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, true},
		"a page":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") }, true},
		"not XML": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(207); fmt.Fprint(w, "hello") }, true},
		"half of it": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(207)
			fmt.Fprint(w, `<multistatus xmlns="DAV:"><resp`)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				work, other := newDAV(), newDAV()
				other.place = "/ann/"
				work.put("a", at("a", time.Hour))
				other.put("b", at("b", 2*time.Hour))
				cfg := config(work)
				cfg.URL = ""
				cfg.Calendars = func(context.Context, string) ([]string, error) {
					return []string{"https://dav.example.com/ann/", "https://dav.example.com/tom/work/"}, nil
				}
				cfg.HTTPClient = &http.Client{Transport: byPath{"/ann/": other, "/tom/work/": work}}
				var failing atomic.Bool
				other.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					now := failing.Load()
					if now {
						tt.answer(w, r)
					}
					return now
				})
				w := start(t, cfg)
				require.Equal(t, []string{"a", "b"}, ids(w.last()))
				failing.Store(true)
				want := []string{"a"}
				if tt.stays {
					want = []string{"a", "b"}
				}
				require.Equal(t, want, ids(w.next(poll)))
				require.Equal(t, []string{"a"}, ids(w.next(5*poll)))
				work.put("c", at("c", 3*time.Hour))
				require.Equal(t, []string{"a", "c"}, ids(w.next(poll)))

				failing.Store(false)
				require.Equal(t, []string{"a", "b", "c"}, ids(w.next(61*time.Minute)), "they are looked for again")
				w.cancel()

				failing.Store(true)
				w = start(t, cfg)
				require.Equal(t, []string{"a", "c"}, ids(w.last()), "one that could never be read")
				w.cancel()
			})
		})
	}
}

// TestLockout: where all calendars answer 401, the password is not sent to each.
func TestLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		cfg := config(d)
		cfg.URL = ""
		cfg.Calendars = func(context.Context, string) (urls []string, _ error) {
			for i := range 20 {
				urls = append(urls, fmt.Sprintf("https://dav.example.com/%d/", i))
			}
			return urls, nil
		}
		d.intercept(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true })
		err, ended := start(t, cfg).result()
		require.True(t, ended)
		require.ErrorIs(t, err, caldav.ErrUnauthorized)
		require.LessOrEqual(t, len(d.asked()), 2)
	})
}

// TestSyncRefused: however a server refuses a sync-collection, the calendar is listed
// instead (RFC 6578 §3.2, §3.8), at the same poll, and after a while always.
func TestSyncRefused(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"400": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) },
		"404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"405": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(405) },
		"418": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) },
		"422": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422) },
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"501": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(501) },
		"507": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(507) },
		"200": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") },
		"207": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(207)
			fmt.Fprint(w, "<html>Welcome</html>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.put("a", at("a", time.Hour))
				d.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == "REPORT" && r.Header.Get("Depth") == "0" {
						answer(w, r)
						return true
					}
					return false
				})
				w := start(t, config(d))
				d.put("b", at("b", 2*time.Hour))
				require.Equal(t, []string{"a", "b"}, ids(w.next(poll)))
				w.next(5 * poll)
				d.remove("a")
				d.asked()
				require.Equal(t, []string{"b"}, ids(w.next(poll)))
				require.NotContains(t, d.asked(), "sync-collection")
				w.cancel()
			})
		})
	}
}
