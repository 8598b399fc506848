package ews_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence/ews"
)

const (
	account  = "svc"
	password = "canary-Pässw0rd"
	userAt   = `DE\svc`
)

// item is an appointment in the fake.
type item struct {
	id          string
	from, to    time.Time
	subject     string
	location    string
	status      string // default Busy
	sensitivity string // default Normal
	response    string // default Accept
	allDay      bool
	cancelled   bool
	online      bool
}

// exchange is an Exchange server, as much of it as monitors and foreign clients ask
// for: several mailbox servers behind one address, whose subscriptions are only
// found by way of the right anchor or cookie. In memory, it runs on the clock of
// synctest.
type exchange struct {
	basic     bool           // offer Basic, else NTLM
	negotiate bool           // offer NTLM as Negotiate only
	roots     *x509.CertPool // of serveTLS

	mu        sync.Mutex
	user      string // of Basic
	password  string
	before    func(w http.ResponseWriter, r *http.Request, q *query) bool // answers, where it is true
	mute      bool                                                        // streams say nothing
	hangUp    bool                                                        // after each challenge of NTLM
	down      bool                                                        // connections are refused
	boxes     map[string]*box
	subs      map[string]*sub
	streams   map[*listening]struct{}
	conns     map[net.Conn]struct{}
	asked     []query
	signIns   int
	refusals  int
	serial    int
	heartbeat time.Duration
}

type box struct {
	items    []item
	oof      string // content of OofSettings
	fails    string // code of the error for this mailbox
	freeBusy bool   // GetUserAvailability shows no details
	backEnd  string
}

type sub struct{ mail, backEnd string }

type listening struct {
	ids    []string
	events chan string
	gone   chan struct{}
}

// query is one request that came in.
type query struct {
	at        time.Time
	operation string
	as        string
	anchor    string
	affinity  bool
	cookie    string
	body      string
}

func newExchange() *exchange {
	return &exchange{
		user: userAt, password: password, boxes: make(map[string]*box), subs: make(map[string]*sub), heartbeat: 45 * time.Second,
		streams: make(map[*listening]struct{}), conns: make(map[net.Conn]struct{}),
	}
}

// with runs f while nobody else looks at the server.
func (e *exchange) with(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *exchange) add(mail string, items ...item) *box {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.boxes[mail]
	if b == nil {
		b = &box{backEnd: fmt.Sprintf("mbx%d", len(mail)%3)}
		e.boxes[mail] = b
	}
	b.items = append(b.items, items...)
	return b
}

// change changes a mailbox, and tells who has subscribed to it, as Exchange does:
// three pairs of events, and one for the folder.
func (e *exchange) change(mail string, f func(*box)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.boxes[mail])
	now := time.Now().UTC().Format(time.RFC3339)
	of := func(kind, id string) string {
		return `<t:` + kind + `Event><t:TimeStamp>` + now + `</t:TimeStamp><t:` + id + ` Id="AAA=" ChangeKey="CK"/><t:ParentFolderId Id="CAL="/></t:` + kind + `Event>`
	}
	for id, s := range e.subs {
		if s.mail == mail {
			e.tell(id, strings.Repeat(of("Modified", "ItemId")+of("FreeBusyChanged", "ItemId"), 3)+of("Modified", "FolderId"))
		}
	}
}

// tell sends events to the streams of a subscription.
func (e *exchange) tell(id, events string) {
	for l := range e.streams {
		if slices.Contains(l.ids, id) {
			select {
			case l.events <- `<m:Notifications><m:Notification><t:SubscriptionId>` + id + `</t:SubscriptionId>` + events + `</m:Notification></m:Notifications>`:
			case <-l.gone:
			}
		}
	}
}

// restart loses what a mailbox server has in memory, and all connections.
func (e *exchange) restart() {
	e.mu.Lock()
	clear(e.subs)
	e.mu.Unlock()
	e.cut()
}

// cut ends all connections.
func (e *exchange) cut() {
	e.mu.Lock()
	conns := e.conns
	e.conns = make(map[net.Conn]struct{})
	e.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

// intercept has requests answered by f first.
func (e *exchange) intercept(f func(w http.ResponseWriter, r *http.Request, q *query) bool) {
	e.with(func() { e.before = f })
}

// requests returns those since the last call.
func (e *exchange) requests() []query {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := e.asked
	e.asked = nil
	return asked
}

// operations returns the kinds of requests since the last call.
func (e *exchange) operations() []string {
	out := []string{}
	for _, q := range e.requests() {
		out = append(out, q.operation)
	}
	return out
}

type dialer = func(context.Context, string, string) (net.Conn, error)

// serve serves over memory until the test ends, and returns how to dial it.
func (e *exchange) serve(t testing.TB) dialer {
	dial := serve(t, &http.Server{Handler: e, ConnContext: e.connected, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			e.with(func() { delete(e.conns, c) })
		}
	}})
	t.Cleanup(e.cut)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		e.mu.Lock()
		down := e.down
		e.mu.Unlock()
		if down {
			return nil, errRefused
		}
		return dial(ctx, network, address)
	}
}

// serve has a server serve over memory until the test ends.
func serve(t testing.TB, s *http.Server, secure ...*tls.Config) dialer {
	l := &memory{accept: make(chan net.Conn), closed: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if len(secure) > 0 {
			_ = s.Serve(tls.NewListener(l, secure[0]))
			return
		}
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }
}

var quiet = slog.NewLogLogger(slog.DiscardHandler, 0)

var errRefused = errors.New("connection refused")

type memory struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.accept <- theirs:
		return ours, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.accept:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// config is one for the fake.
func config(dial dialer) ews.Config {
	return ews.Config{
		URL: "http://localhost/EWS/Exchange.asmx", Dial: dial,
		Credentials: func(context.Context) (ews.Credentials, error) {
			return ews.Credentials{User: userAt, Password: auth.NewSecret([]byte(password))}, nil
		},
	}
}

type connKey struct{}

func (e *exchange) connected(ctx context.Context, c net.Conn) context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns[c] = struct{}{}
	return context.WithValue(ctx, connKey{}, &ntlm{user: account, domain: "DE", password: e.password})
}

// authorized answers 401 where a request is not.
func (e *exchange) authorized(w http.ResponseWriter, r *http.Request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if e.basic {
		user, given, ok := r.BasicAuth()
		if ok && user == e.user && given == e.password {
			return true
		}
		if ok {
			e.refusals++
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="mail.example.com"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	n := r.Context().Value(connKey{}).(*ntlm)
	if scheme == "" && n.signedIn {
		return true
	}
	name := "NTLM"
	if e.negotiate {
		name = "Negotiate"
	}
	w.Header().Add("WWW-Authenticate", "Negotiate")
	if scheme == name {
		n.password = e.password
		proved := n.challenge != nil
		reply, ok := n.answer(token)
		switch {
		case ok:
			e.signIns++
			w.Header().Del("WWW-Authenticate")
			return true
		case reply != "":
			w.Header().Set("WWW-Authenticate", name+" "+reply)
			if e.hangUp {
				w.Header().Set("Connection", "close")
			}
		case proved:
			e.refusals++
		}
	}
	if !e.negotiate && w.Header().Get("WWW-Authenticate") == "Negotiate" {
		w.Header().Add("WWW-Authenticate", "NTLM")
	}
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

// parsed is what of a request counts.
type parsed struct {
	Header struct {
		As string `xml:"ExchangeImpersonation>ConnectingSID>SmtpAddress"`
		By string `xml:"ExchangeImpersonation>ConnectingSID>PrimarySmtpAddress"`
	}
	Body struct {
		Operation struct {
			XMLName xml.Name
			View    struct {
				Start string `xml:"StartDate,attr"`
				End   string `xml:"EndDate,attr"`
				Max   int    `xml:"MaxEntriesReturned,attr"`
			} `xml:"CalendarView"`
			Folders []struct {
				XMLName xml.Name
				ID      string `xml:"Id,attr"`
				Mailbox string `xml:"Mailbox>EmailAddress"`
			} `xml:"ParentFolderIds>DistinguishedFolderId"`
			Distinguished string   `xml:"FolderIds>DistinguishedFolderId"`
			Subscriptions []string `xml:"SubscriptionIds>SubscriptionId"`
			Subscription  string   `xml:"SubscriptionId"`
			Minutes       int      `xml:"ConnectionTimeout"`
			Mails         []string `xml:"MailboxDataArray>MailboxData>Email>Address"`
			From          string   `xml:"FreeBusyViewOptions>TimeWindow>StartTime"`
			To            string   `xml:"FreeBusyViewOptions>TimeWindow>EndTime"`
			Oof           string   `xml:"Mailbox>Address"`
			Kinds         []string `xml:"StreamingSubscriptionRequest>EventTypes>EventType"`
		} `xml:",any"`
	}
}

func (e *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !e.authorized(w, r) {
		return
	}
	var p parsed
	if err := xml.Unmarshal(body, &p); err != nil {
		fault(w, "ErrorSchemaValidation", "")
		return
	}
	q := query{
		at: time.Now(), operation: p.Body.Operation.XMLName.Local, as: cmp.Or(p.Header.As, p.Header.By), anchor: r.Header.Get("X-AnchorMailbox"),
		affinity: r.Header.Get("X-PreferServerAffinity") != "", body: string(body),
	}
	if c, err := r.Cookie("X-BackEndOverrideCookie"); err == nil {
		q.cookie = c.Value
	}
	e.mu.Lock()
	e.asked = append(e.asked, q)
	before := e.before
	e.mu.Unlock()
	if before != nil && before(w, r, &q) {
		return
	}
	if q.operation == "GetStreamingEvents" {
		e.stream(w, r, &q, &p)
		return
	}
	answer := httptest.NewRecorder() // who reads slowly must not hold the lock
	e.with(func() { e.answer(answer, &q, &p) })
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (e *exchange) answer(w http.ResponseWriter, q *query, p *parsed) {
	op := &p.Body.Operation
	own := e.boxes[strings.ToLower(q.as)]
	switch {
	case q.as != "" && own == nil:
		fault(w, "ErrorNonExistentMailbox", "")
		return
	case own != nil && own.fails != "":
		fault(w, own.fails, "")
		return
	}
	switch q.operation {
	case "FindItem":
		if own == nil && len(op.Folders) == 1 {
			own = e.boxes[op.Folders[0].Mailbox]
		}
		if own == nil {
			e.say(w, q, `<m:FindItemResponseMessage ResponseClass="Error"><m:MessageText>No.</m:MessageText><m:ResponseCode>ErrorFolderNotFound</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:FindItemResponseMessage>`)
			return
		}
		e.findItem(w, q, own, p)
	case "GetFolder":
		e.say(w, q, success("GetFolder", `<m:Folders><t:CalendarFolder><t:FolderId Id="CAL=" ChangeKey="1"/><t:ParentFolderId Id="ROOT="/>`+
			`<t:FolderClass>IPF.Appointment</t:FolderClass><t:DisplayName>Calendar</t:DisplayName><t:TotalCount>1</t:TotalCount>`+
			`<t:ChildFolderCount>0</t:ChildFolderCount></t:CalendarFolder></m:Folders>`))
	case "Subscribe":
		e.serial++
		id, backEnd := fmt.Sprintf("SUB%d=", e.serial), e.backEnd(q)
		e.subs[id] = &sub{q.as, backEnd}
		if q.affinity && q.cookie == "" {
			http.SetCookie(w, &http.Cookie{Name: "X-BackEndOverrideCookie", Value: backEnd + "~1941996295", Path: "/", Secure: true, HttpOnly: true})
		}
		e.say(w, q, success("Subscribe", `<m:SubscriptionId>`+id+`</m:SubscriptionId>`))
	case "Unsubscribe":
		delete(e.subs, op.Subscription)
		e.say(w, q, success("Unsubscribe", ""))
	case "GetUserOofSettingsRequest":
		envelope(w, `<m:GetUserOofSettingsResponse><m:ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode></m:ResponseMessage>`+
			`<t:OofSettings>`+cmp.Or(own.oof, `<t:OofState>Disabled</t:OofState><t:ExternalAudience>All</t:ExternalAudience>`)+
			`</t:OofSettings><m:AllowExternalOof>All</m:AllowExternalOof></m:GetUserOofSettingsResponse>`)
	case "GetServerTimeZones":
		e.say(w, q, success("GetServerTimeZones", `<m:TimeZoneDefinitions><t:TimeZoneDefinition Id="UTC" Name="(UTC) Coordinated Universal Time">`+
			`<t:Periods><t:Period Bias="PT0S" Name="Standard" Id="std"/></t:Periods><t:TransitionsGroups><t:TransitionsGroup Id="0"><t:Transition>`+
			`<t:To Kind="Period">std</t:To></t:Transition></t:TransitionsGroup></t:TransitionsGroups><t:Transitions><t:Transition>`+
			`<t:To Kind="Group">0</t:To></t:Transition></t:Transitions></t:TimeZoneDefinition></m:TimeZoneDefinitions>`))
	case "GetUserAvailabilityRequest":
		e.freeBusy(w, p)
	default:
		fault(w, "ErrorInvalidRequest", "")
	}
}

// backEnd returns the mailbox server that a request gets to.
func (e *exchange) backEnd(q *query) string {
	if q.affinity && q.cookie != "" {
		name, _, _ := strings.Cut(q.cookie, "~")
		return name
	}
	if b := e.boxes[strings.ToLower(q.anchor)]; b != nil {
		return b.backEnd
	}
	return ""
}

func (e *exchange) findItem(w http.ResponseWriter, q *query, b *box, p *parsed) {
	view := p.Body.Operation.View
	from, _ := time.Parse(time.RFC3339, view.Start)
	to, _ := time.Parse(time.RFC3339, view.End)
	found := b.within(from, to)
	all := len(found) <= view.Max || view.Max == 0
	if !all {
		found = found[:view.Max]
	}
	var items strings.Builder
	for _, i := range found {
		items.WriteString(`<t:CalendarItem><t:ItemId Id="` + i.id + `" ChangeKey="CK"/>`)
		if i.subject != "" {
			items.WriteString(`<t:Subject>` + escape(i.subject) + `</t:Subject>`)
		}
		fmt.Fprintf(&items, `<t:Sensitivity>%s</t:Sensitivity><t:Start>%s</t:Start><t:End>%s</t:End><t:IsAllDayEvent>%t</t:IsAllDayEvent>`+
			`<t:LegacyFreeBusyStatus>%s</t:LegacyFreeBusyStatus>`, cmp.Or(i.sensitivity, "Normal"), zulu(i.from), zulu(i.to), i.allDay, cmp.Or(i.status, "Busy"))
		if i.location != "" {
			items.WriteString(`<t:Location>` + escape(i.location) + `</t:Location>`)
		}
		fmt.Fprintf(&items, `<t:IsCancelled>%t</t:IsCancelled><t:MyResponseType>%s</t:MyResponseType><t:StartTimeZone Id="UTC"/><t:EndTimeZone Id="UTC"/>`+
			`<t:IsOnlineMeeting>%t</t:IsOnlineMeeting></t:CalendarItem>`, i.cancelled, cmp.Or(i.response, "Accept"), i.online)
	}
	e.say(w, q, success("FindItem", fmt.Sprintf(`<m:RootFolder TotalItemsInView="%d" IncludesLastItemInRange="%t"><t:Items>%s</t:Items></m:RootFolder>`,
		len(found), all, items.String())))
}

func (b *box) within(from, to time.Time) []item {
	var found []item
	for _, i := range b.items {
		if i.to.After(from) && i.from.Before(to) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(x, y item) int { return x.from.Compare(y.from) })
	return found
}

func (e *exchange) freeBusy(w http.ResponseWriter, p *parsed) {
	op := &p.Body.Operation
	const local = "2006-01-02T15:04:05"
	from, _ := time.Parse(local, strings.TrimSuffix(op.From, "Z"))
	to, _ := time.Parse(local, strings.TrimSuffix(op.To, "Z"))
	var out strings.Builder
	for _, mail := range op.Mails {
		b := e.boxes[strings.ToLower(mail)]
		if b == nil || b.fails != "" {
			code := "ErrorMailRecipientNotFound"
			if b != nil {
				code = b.fails
			}
			out.WriteString(`<m:FreeBusyResponse><m:ResponseMessage ResponseClass="Error"><m:MessageText>No.</m:MessageText><m:ResponseCode>` + code +
				`</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:ResponseMessage><m:FreeBusyView><t:FreeBusyViewType>None</t:FreeBusyViewType></m:FreeBusyView></m:FreeBusyResponse>`)
			continue
		}
		kind := "Detailed"
		if b.freeBusy {
			kind = "FreeBusy"
		}
		out.WriteString(`<m:FreeBusyResponse><m:ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode></m:ResponseMessage>` +
			`<m:FreeBusyView><t:FreeBusyViewType>` + kind + `</t:FreeBusyViewType>`)
		if found := b.within(from, to); len(found) > 0 {
			out.WriteString(`<t:CalendarEventArray>`)
			for _, i := range found {
				fmt.Fprintf(&out, `<t:CalendarEvent><t:StartTime>%s</t:StartTime><t:EndTime>%s</t:EndTime><t:BusyType>%s</t:BusyType>`,
					i.from.UTC().Format(local), i.to.UTC().Format(local), cmp.Or(i.status, "Busy"))
				private := i.sensitivity == "Private"
				if !b.freeBusy {
					out.WriteString(`<t:CalendarEventDetails>`)
					if !private {
						out.WriteString(`<t:Subject>` + escape(i.subject) + `</t:Subject><t:Location>` + escape(i.location) + `</t:Location>`)
					}
					fmt.Fprintf(&out, `<t:IsMeeting>false</t:IsMeeting><t:IsRecurring>false</t:IsRecurring><t:IsException>false</t:IsException>`+
						`<t:IsReminderSet>false</t:IsReminderSet><t:IsPrivate>%t</t:IsPrivate></t:CalendarEventDetails>`, private)
				}
				out.WriteString(`</t:CalendarEvent>`)
			}
			out.WriteString(`</t:CalendarEventArray>`)
		}
		out.WriteString(`</m:FreeBusyView></m:FreeBusyResponse>`)
	}
	envelope(w, `<m:GetUserAvailabilityResponse><m:FreeBusyResponseArray>`+out.String()+`</m:FreeBusyResponseArray></m:GetUserAvailabilityResponse>`)
}

// stream answers GetStreamingEvents, as Exchange does: an envelope for each message,
// with an XML declaration, and nothing between.
func (e *exchange) stream(w http.ResponseWriter, r *http.Request, q *query, p *parsed) {
	op := &p.Body.Operation
	l := &listening{ids: op.Subscriptions, events: make(chan string, 100), gone: make(chan struct{})}
	defer close(l.gone)
	e.mu.Lock()
	backEnd := e.backEnd(q)
	bad := ""
	for _, id := range l.ids {
		if s := e.subs[id]; s == nil || s.backEnd != backEnd {
			bad += `<m:SubscriptionId>` + id + `</m:SubscriptionId>`
		}
	}
	if bad == "" {
		e.streams[l] = struct{}{}
	}
	e.mu.Unlock()
	defer e.with(func() { delete(e.streams, l) })
	say := func(class, code, content string) {
		text := envelopeOf(`<m:GetStreamingEventsResponse><m:ResponseMessages><m:GetStreamingEventsResponseMessage ResponseClass="` + class +
			`"><m:ResponseCode>` + code + `</m:ResponseCode>` + content + `</m:GetStreamingEventsResponseMessage></m:ResponseMessages></m:GetStreamingEventsResponse>`)
		half := len(text) / 2
		_, _ = io.WriteString(w, text[:half])
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, text[half:])
		_ = http.NewResponseController(w).Flush()
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	if bad != "" {
		say("Error", "ErrorSubscriptionNotFound", `<m:DescriptiveLinkKey>0</m:DescriptiveLinkKey><m:ErrorSubscriptionIds>`+bad+
			`</m:ErrorSubscriptionIds><m:ConnectionStatus>Closed</m:ConnectionStatus>`)
		return
	}
	const ok = `<m:ConnectionStatus>OK</m:ConnectionStatus>`
	say("Success", "NoError", ok)
	end := time.NewTimer(time.Duration(op.Minutes) * time.Minute)
	defer end.Stop()
	beat := time.NewTicker(e.heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			say("Success", "NoError", `<m:ConnectionStatus>Closed</m:ConnectionStatus>`)
			return
		case <-beat.C:
			mute := false
			e.with(func() { mute = e.mute })
			if !mute {
				say("Success", "NoError", ok)
			}
		case n := <-l.events:
			say("Success", "NoError", n)
		}
	}
}

func (e *exchange) say(w http.ResponseWriter, q *query, message string) {
	envelope(w, `<m:`+q.operation+`Response><m:ResponseMessages>`+message+`</m:ResponseMessages></m:`+q.operation+`Response>`)
}

func success(operation, content string) string {
	return `<m:` + operation + `ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>` + content + `</m:` + operation + `ResponseMessage>`
}

func envelope(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(w, envelopeOf(body))
}

func envelopeOf(body string) string {
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>` +
		`<h:ServerVersionInfo MajorVersion="15" MinorVersion="2" MajorBuildNumber="1544" MinorBuildNumber="4" Version="V2017_07_11" xmlns:h="` + types +
		`"/></s:Header><s:Body xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="` + types + `">` + body + `</s:Body></s:Envelope>`
}

const types = "http://schemas.microsoft.com/exchange/services/2006/types"

func fault(w http.ResponseWriter, code, more string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, envelopeOf(`<s:Fault><faultcode xmlns:a="`+types+`">a:`+code+`</faultcode><faultstring xml:lang="de-DE">Geht nicht.</faultstring><detail>`+
		`<e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">`+code+`</e:ResponseCode>`+more+`</detail></s:Fault>`))
}

// busy is the answer to one who has asked too much.
func busy(w http.ResponseWriter, wait time.Duration) {
	fault(w, "ErrorServerBusy", `<t:MessageXml><t:Value Name="BackOffMilliseconds">`+fmt.Sprint(wait.Milliseconds())+`</t:Value></t:MessageXml>`)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

func zulu(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
