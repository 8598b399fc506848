package caldav_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// dav is a CalDAV server with one user and one calendar, as much of it as the
// monitor asks for. As a RoundTripper it needs no network, so that it runs on
// the clock of synctest.
type dav struct {
	noSync, noCTag, noETag bool
	user, password         string // "": none needed
	properties             string // further ones of the calendar
	failing                string // response, with a %s for its href, for the data of the object "failing"
	place                  string // path of the calendar

	mu       sync.Mutex
	before   func(w http.ResponseWriter, r *http.Request) bool // answers, where it is true
	objects  map[string]string                                 // by name
	versions map[string]int
	changes  []string // names, one for each change; the token counts them
	oldest   int      // tokens below are not valid any more
	requests []string
}

func newDAV() *dav {
	return &dav{place: "/tom/work/", objects: make(map[string]string), versions: make(map[string]int)}
}

func (d *dav) put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.objects[name] = string(data)
	d.versions[name]++
	d.changes = append(d.changes, name)
}

func (d *dav) remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.objects, name)
	d.changes = append(d.changes, name)
}

// forget makes the tokens given out so far invalid.
func (d *dav) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.oldest = len(d.changes) + 1
	d.changes = append(d.changes, "")
}

// intercept has requests answered by f first.
func (d *dav) intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = f
}

// asked returns the kinds of requests since the last call.
func (d *dav) asked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := d.requests
	d.requests = nil
	return asked
}

func (d *dav) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (d *dav) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var ask struct {
		XMLName xml.Name
		Token   string   `xml:"DAV: sync-token"`
		Hrefs   []string `xml:"DAV: href"`
	}
	_ = xml.Unmarshal(body, &ask)
	kind := ask.XMLName.Local
	if kind == "propfind" {
		kind += " " + r.URL.Path
	}
	d.mu.Lock()
	d.requests = append(d.requests, kind)
	before := d.before
	d.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	if user, password, _ := r.BasicAuth(); user != d.user || password != d.password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ask.XMLName.Local != "propfind" && r.URL.Path != d.place {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch ask.XMLName.Local {
	case "propfind":
		d.propfind(w, r.URL.Path, r.Header.Get("Depth") == "1")
	case "calendar-query":
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(d.objects)) {
			b.WriteString(d.response(name, false))
		}
		multistatus(w, b.String())
	case "calendar-multiget":
		var b strings.Builder
		for _, href := range ask.Hrefs {
			b.WriteString(d.response(strings.TrimPrefix(href, d.place), true))
		}
		multistatus(w, b.String())
	case "sync-collection":
		d.sync(w, ask.Token)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (d *dav) propfind(w http.ResponseWriter, path string, members bool) {
	props := ""
	switch path {
	case "/":
		props = `<current-user-principal><href>/tom/</href></current-user-principal>`
	case "/tom/":
		all := found("/tom/", `<resourcetype><collection/></resourcetype><C:calendar-home-set><href>/tom/</href></C:calendar-home-set>`+
			`<C:calendar-user-address-set><href>mailto:alias@example.com</href><href>/tom/</href></C:calendar-user-address-set>`)
		if members {
			all += found(d.place, `<resourcetype><collection/><C:calendar/></resourcetype>`) +
				found("/tom/todo/", `<resourcetype><collection/><C:calendar/></resourcetype><C:supported-calendar-component-set><C:comp name="VTODO"/></C:supported-calendar-component-set>`) +
				found("/tom/contacts/", `<resourcetype><collection/></resourcetype>`)
		}
		multistatus(w, all)
		return
	case d.place:
		props = d.properties
		if !d.noSync {
			props += fmt.Sprintf("<sync-token>t%d</sync-token>", len(d.changes))
		}
		if !d.noCTag {
			props += fmt.Sprintf("<S:getctag>c%d</S:getctag>", len(d.changes))
		}
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	multistatus(w, found(path, props))
}

func (d *dav) sync(w http.ResponseWriter, token string) {
	var n int
	if _, err := fmt.Sscanf(token, "t%d", &n); err != nil || n < d.oldest || n > len(d.changes) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	var b strings.Builder
	changed := slices.Clone(d.changes[n:])
	slices.Sort(changed)
	for _, name := range slices.Compact(changed) {
		b.WriteString(d.response(name, false))
	}
	fmt.Fprintf(&b, "<sync-token>t%d</sync-token>", len(d.changes))
	multistatus(w, b.String())
}

// response is that for one object.
func (d *dav) response(name string, withData bool) string {
	data, ok := d.objects[name]
	if !ok {
		return `<response><href>` + d.place + name + `</href><status>HTTP/1.1 404 Not Found</status></response>`
	}
	if withData && d.failing != "" && name == "failing" {
		return fmt.Sprintf(d.failing, d.place+name)
	}
	props := ""
	if !d.noETag {
		props = fmt.Sprintf(`<getetag>"%d"</getetag>`, d.versions[name])
	}
	if withData {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(data))
		props += `<C:calendar-data>` + b.String() + `</C:calendar-data>`
	}
	return found(d.place+name, props)
}

func found(href, props string) string {
	return `<response><href>` + href + `</href><propstat><prop>` + props + `</prop><status>HTTP/1.1 200 OK</status></propstat>` +
		`<propstat><prop><displayname/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response>`
}

func multistatus(w http.ResponseWriter, content string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusMultiStatus)
	fmt.Fprintf(w, `<?xml version="1.0"?><multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:S="http://calendarserver.org/ns/">%s</multistatus>`, content)
}
