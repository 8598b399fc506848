package fakegraph

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is a tenant. It is an [http.Handler]; and a [http.RoundTripper] that needs no network, so
// that it runs on the clock of synctest. The exported fields are set before it is used.
type Server struct {
	Tenant, ClientID, Secret string
	Certificate              *x509.Certificate // takes assertions signed by its key instead of the secret
	TokenLife                time.Duration     // default 1 hour
	PageSize                 int               // of a calendar view, where the request names a larger one; default 200
	// EchoLag is how long a session that was cleared is still seen; EchoActivity is as what
	// sessions are seen, where that is not what was set.
	EchoLag      time.Duration
	EchoActivity string
	// PrivateTexts has schedules tell the subjects of private appointments too.
	PrivateTexts bool
	// Eventual looks for users by mail address only where the answer may be a little old; NoLookup
	// does not at all.
	Eventual bool
	NoLookup bool

	mu       sync.Mutex
	before   func(w http.ResponseWriter, r *http.Request) bool
	tokens   map[string]time.Time // until when
	issued   int
	users    map[string]*user // by each of its names, in lower case
	requests []string
	open     map[string]int // requests under way, by mailbox
	sequence int
}

// user is one of the tenant.
type user struct {
	id, principal, mail string
	mailbox             bool
	events              []stored
	availability        string
	activity            string
	status              any
	away                bool
	sequence            string
	sessions            map[string]session
}

// session is a presence session of an application.
type session struct {
	availability, activity string
	from, until            time.Time
}

// New returns a tenant without users.
func New() *Server {
	return &Server{
		Tenant: "contoso.example", ClientID: "22553876-f5ab-4529-bffb-cfe50aa89f87", Secret: "right secret",
		tokens: make(map[string]time.Time), users: make(map[string]*user), open: make(map[string]int),
	}
}

// AddUser adds a user with a mailbox. The principal name and the mail address may be the same.
func (s *Server) AddUser(id, principal, mail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &user{id: id, principal: principal, mail: mail, mailbox: true, sessions: make(map[string]session)}
	s.users[strings.ToLower(id)] = u
	s.users[strings.ToLower(principal)] = u
}

// RemoveMailbox leaves a user without a mailbox in the cloud.
func (s *Server) RemoveMailbox(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[strings.ToLower(name)].mailbox = false
}

// SetEvents replaces the events of a user.
func (s *Server) SetEvents(name string, events ...Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[strings.ToLower(name)]
	u.events = nil
	for _, e := range events {
		u.events = append(u.events, store(e))
	}
}

// AddEvent adds an event to those of a user.
func (s *Server) AddEvent(name string, event Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[strings.ToLower(name)]
	u.events = append(u.events, store(event))
}

// Intercept has requests answered by f first. Where that is true, they are answered.
func (s *Server) Intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// Requests returns what was asked since the last call: "GET /users/{id}/calendarView", and so on.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.requests
	s.requests = nil
	return asked
}

// Tokens returns how many tokens were issued.
func (s *Server) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

// RevokeTokens makes those that were issued invalid.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// RoundTrip answers a request.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Host = r.URL.Host
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

var uuid = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1.0")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	kind := slices.Clone(parts)
	if len(kind) > 1 && kind[0] == "users" {
		kind[1] = "{id}"
	}
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" /"+strings.Join(kind, "/"))
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	if path == "/"+s.Tenant+"/oauth2/v2.0/token" {
		s.token(w, r)
		return
	}
	if !s.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"`)
		fail(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
		return
	}
	if id := r.Header.Get("client-request-id"); id != "" && !uuid.MatchString(id) {
		fail(w, http.StatusBadRequest, "BadRequest", "client-request-id")
		return
	}
	s.graph(w, r, parts)
}

func (s *Server) authorized(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && time.Now().Before(s.tokens[value])
}

// graph answers a request that has a token.
func (s *Server) graph(w http.ResponseWriter, r *http.Request, parts []string) {
	last := r.Method + " " + parts[len(parts)-1]
	switch {
	case last == "POST getPresencesByUserId":
		s.presences(w, r)
	case last == "GET users":
		s.find(w, r)
	case parts[0] != "users" || len(parts) < 2:
		fail(w, http.StatusBadRequest, "BadRequest", "Resource not found for the segment.")
	default:
		u := s.user(parts[1])
		switch {
		case len(parts) == 2 && s.NoLookup:
			fail(w, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
		case u == nil && len(parts) > 2 && parts[2] != "presence":
			fail(w, http.StatusNotFound, "ErrorInvalidUser", "The requested user '"+parts[1]+"' is invalid.")
		case u == nil:
			fail(w, http.StatusNotFound, "Request_ResourceNotFound", "Resource '"+parts[1]+"' does not exist.")
		case len(parts) == 2 && r.Method == http.MethodGet:
			answer(w, r, "users/$entity", map[string]any{"id": u.id, "mail": u.mail, "userPrincipalName": u.principal})
		case last == "GET calendarView", last == "GET delta":
			s.calendar(w, r, u, last == "GET delta")
		case last == "POST getSchedule":
			s.schedule(w, r)
		case last == "POST setPresence", last == "POST clearPresence":
			s.session(w, r, u, last == "POST clearPresence")
		default:
			fail(w, http.StatusBadRequest, "BadRequest", "Resource not found for the segment.")
		}
	}
}

func (s *Server) user(name string) *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[strings.ToLower(name)]
}

var filterMail = regexp.MustCompile(`^mail eq '((?:[^']|'')*)' or proxyAddresses/any\(p:p eq 'smtp:((?:[^']|'')*)'\)$`)

// find looks for users by mail address.
func (s *Server) find(w http.ResponseWriter, r *http.Request) {
	m := filterMail.FindStringSubmatch(r.URL.Query().Get("$filter"))
	switch {
	case s.NoLookup:
		fail(w, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
		return
	case m == nil || m[1] != m[2] || s.Eventual && (r.Header.Get("ConsistencyLevel") != "eventual" || r.URL.Query().Get("$count") != "true"):
		fail(w, http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported Query.")
		return
	}
	mail := strings.ReplaceAll(m[1], "''", "'")
	s.mu.Lock()
	found := make(map[string]any)
	for _, u := range s.users {
		if strings.EqualFold(u.mail, mail) {
			found[u.id] = map[string]any{"id": u.id}
		}
	}
	s.mu.Unlock()
	list := make([]any, 0, len(found))
	for _, u := range found {
		list = append(list, u)
	}
	answer(w, r, "users", map[string]any{"value": list})
}

// origin is where the server was asked.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func answer(w http.ResponseWriter, r *http.Request, context string, body map[string]any) {
	body["@odata.context"] = origin(r) + "/v1.0/$metadata#" + context
	w.Header().Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	w.Header().Set("request-id", r.Header.Get("client-request-id"))
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": code, "message": message,
		"innerError": map[string]any{"date": time.Now().UTC().Format("2006-01-02T15:04:05"), "request-id": fmt.Sprintf("%08d-0000-4000-8000-000000000001", status)},
	}})
}
