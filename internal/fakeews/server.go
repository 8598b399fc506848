package fakeews

import (
	"cmp"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// The service account that a new [Server] knows.
const (
	account  = "svc"
	User     = `DE\svc`
	Password = "canary-Pässw0rd"
)

// Item is an appointment.
type Item struct {
	ID          string
	From, To    time.Time
	Subject     string
	Location    string
	Status      string // default Busy
	Sensitivity string // default Normal
	Response    string // default Accept
	AllDay      bool
	Cancelled   bool
	Online      bool
}

// Server is an Exchange server: several mailbox servers behind one address, whose
// subscriptions are only found by way of the right anchor or cookie. Served from
// memory, it runs on the clock of synctest. Once it serves, its fields are used
// within [Server.With] only.
type Server struct {
	Basic     bool           // offer Basic, else NTLM
	Negotiate bool           // offer NTLM as Negotiate only
	Roots     *x509.CertPool // of ServeTLS
	User      string         // of Basic
	Password  string
	Heartbeat time.Duration // of streams
	Mute      bool          // streams say nothing
	HangUp    bool          // after each challenge of NTLM
	Down      bool          // connections are refused

	Mailboxes     map[string]*Mailbox
	Subscriptions map[string]*Subscription
	Streams       map[*Stream]struct{}
	Conns         map[net.Conn]struct{}
	SignIns       int
	Refusals      int

	mu     sync.Mutex
	before func(w http.ResponseWriter, r *http.Request, q *Request) bool // answers, where it is true
	asked  []Request
	serial int
}

// Mailbox is one, with its calendar.
type Mailbox struct {
	Items        []Item
	OutOfOffice  string // content of OofSettings
	Fails        string // code of the error for this mailbox
	FreeBusyOnly bool   // GetUserAvailability shows no details
	backEnd      string
}

// Subscription is one that stands.
type Subscription struct{ Mail, backEnd string }

// Stream is a GetStreamingEvents under way.
type Stream struct {
	IDs    []string
	events chan string
	gone   chan struct{}
}

// Request is one that came in.
type Request struct {
	At        time.Time
	Operation string
	As        string
	Anchor    string
	Affinity  bool
	Cookie    string
	Body      string
}

// New returns a server without mailboxes.
func New() *Server {
	return &Server{
		User: User, Password: Password, Mailboxes: make(map[string]*Mailbox), Subscriptions: make(map[string]*Subscription), Heartbeat: 45 * time.Second,
		Streams: make(map[*Stream]struct{}), Conns: make(map[net.Conn]struct{}),
	}
}

// With runs f while nobody else looks at the server.
func (e *Server) With(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

// Add adds appointments to a mailbox, which is made where it is not there.
func (e *Server) Add(mail string, items ...Item) *Mailbox {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.Mailboxes[mail]
	if b == nil {
		b = &Mailbox{backEnd: fmt.Sprintf("mbx%d", len(mail)%3)}
		e.Mailboxes[mail] = b
	}
	b.Items = append(b.Items, items...)
	return b
}

// Change changes a mailbox, and tells who has subscribed to it, as Exchange does:
// three pairs of events, and one for the folder.
func (e *Server) Change(mail string, f func(*Mailbox)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.Mailboxes[mail])
	now := time.Now().UTC().Format(time.RFC3339)
	of := func(kind, id string) string {
		return `<t:` + kind + `Event><t:TimeStamp>` + now + `</t:TimeStamp><t:` + id + ` Id="AAA=" ChangeKey="CK"/><t:ParentFolderId Id="CAL="/></t:` + kind + `Event>`
	}
	for id, s := range e.Subscriptions {
		if s.Mail == mail {
			e.tell(id, strings.Repeat(of("Modified", "ItemId")+of("FreeBusyChanged", "ItemId"), 3)+of("Modified", "FolderId"))
		}
	}
}

// tell sends events to the streams of a subscription.
func (e *Server) tell(id, events string) {
	for l := range e.Streams {
		if slices.Contains(l.IDs, id) {
			select {
			case l.events <- `<m:Notifications><m:Notification><t:SubscriptionId>` + id + `</t:SubscriptionId>` + events + `</m:Notification></m:Notifications>`:
			case <-l.gone:
			}
		}
	}
}

// Restart loses what a mailbox server has in memory, and all connections.
func (e *Server) Restart() {
	e.mu.Lock()
	clear(e.Subscriptions)
	e.mu.Unlock()
	e.Cut()
}

// Cut ends all connections.
func (e *Server) Cut() {
	e.mu.Lock()
	conns := e.Conns
	e.Conns = make(map[net.Conn]struct{})
	e.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

// Intercept has requests answered by f first.
func (e *Server) Intercept(f func(w http.ResponseWriter, r *http.Request, q *Request) bool) {
	e.With(func() { e.before = f })
}

// Requests returns those since the last call.
func (e *Server) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := e.asked
	e.asked = nil
	return asked
}

// Operations returns the kinds of requests since the last call.
func (e *Server) Operations() []string {
	out := []string{}
	for _, q := range e.Requests() {
		out = append(out, q.Operation)
	}
	return out
}

// authorized answers 401 where a request is not.
func (e *Server) authorized(w http.ResponseWriter, r *http.Request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if e.Basic {
		user, given, ok := r.BasicAuth()
		if ok && user == e.User && given == e.Password {
			return true
		}
		if ok {
			e.Refusals++
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
	if e.Negotiate {
		name = "Negotiate"
	}
	w.Header().Add("WWW-Authenticate", "Negotiate")
	if scheme == name {
		n.password = e.Password
		proved := n.challenge != nil
		reply, ok := n.answer(token)
		switch {
		case ok:
			e.SignIns++
			w.Header().Del("WWW-Authenticate")
			return true
		case reply != "":
			w.Header().Set("WWW-Authenticate", name+" "+reply)
			if e.HangUp {
				w.Header().Set("Connection", "close")
			}
		case proved:
			e.Refusals++
		}
	}
	if !e.Negotiate && w.Header().Get("WWW-Authenticate") == "Negotiate" {
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

func (e *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !e.authorized(w, r) {
		return
	}
	var p parsed
	if err := xml.Unmarshal(body, &p); err != nil {
		Fault(w, "ErrorSchemaValidation", "")
		return
	}
	q := Request{
		At: time.Now(), Operation: p.Body.Operation.XMLName.Local, As: cmp.Or(p.Header.As, p.Header.By), Anchor: r.Header.Get("X-AnchorMailbox"),
		Affinity: r.Header.Get("X-PreferServerAffinity") != "", Body: string(body),
	}
	if c, err := r.Cookie("X-BackEndOverrideCookie"); err == nil {
		q.Cookie = c.Value
	}
	e.mu.Lock()
	e.asked = append(e.asked, q)
	before := e.before
	e.mu.Unlock()
	if before != nil && before(w, r, &q) {
		return
	}
	if q.Operation == "GetStreamingEvents" {
		e.stream(w, r, &q, &p)
		return
	}
	answer := httptest.NewRecorder() // who reads slowly must not hold the lock
	e.With(func() { e.answer(answer, &q, &p) })
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}
