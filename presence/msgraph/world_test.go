package msgraph_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tom = "8afc02cb-4d62-4dba-b536-9f6d73e9be26"
	meg = "59bb3898-0621-4414-ac61-74f9d7201355"
)

// newTenant has two users: the mail address of one is the principal name, that of the other is not.
func newTenant() *fakegraph.Server {
	s := fakegraph.New()
	s.AddUser(tom, "tom.hanks@contoso.example", "tom.hanks@contoso.example")
	s.AddUser(meg, "meg@contoso.onmicrosoft.example", "Meg.O'Ryan@contoso.example")
	return s
}

// config is one for a tenant, without a network.
func config(t testing.TB, s *fakegraph.Server) msgraph.Config {
	t.Helper()
	return msgraph.Config{
		Tenant: s.Tenant, ClientID: s.ClientID, SecretFile: file(t, s.Secret+"\r\n"),
		HTTPClient: &http.Client{Transport: s},
	}
}

func file(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

func newApp(t testing.TB, cfg msgraph.Config) *msgraph.App {
	t.Helper()
	app, err := msgraph.New(cfg)
	require.NoError(t, err)
	return app
}

// watch is a monitor at work, on the clock of synctest.
type watch[V any] struct {
	t      *testing.T
	cancel context.CancelFunc

	mu     sync.Mutex
	values []V
	at     []time.Time
	err    error
	ended  bool
}

func start[V any](t *testing.T, monitor func(context.Context, func(V)) error) *watch[V] {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch[V]{t: t, cancel: cancel}
	go func() {
		err := monitor(ctx, func(v V) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.values, w.at = append(w.values, v), append(w.at, time.Now())
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err, w.ended = err, true
	}()
	return w
}

// after lets time pass, and returns the last value.
func (w *watch[V]) after(d time.Duration) V {
	w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.False(w.t, w.ended, "%v", w.err)
	require.NotEmpty(w.t, w.values)
	return w.values[len(w.values)-1]
}

func (w *watch[V]) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.values)
}

// result is how it ended.
func (w *watch[V]) result() (error, bool) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err, w.ended
}

func watchCalendar(t *testing.T, c *msgraph.Calendar, mail string) *watch[presence.CalendarState] {
	return start(t, func(ctx context.Context, update func(presence.CalendarState)) error {
		return c.MonitorCalendar(ctx, mail, update)
	})
}

func watchTeams(t *testing.T, m *msgraph.Teams, mail string) *watch[presence.ExternalState] {
	return start(t, func(ctx context.Context, update func(presence.ExternalState)) error {
		return m.MonitorExternal(ctx, entry(mail), update)
	})
}

func entry(mail string) directory.Entry { return directory.Entry{ID: "id of " + mail, Mail: mail} }

func ids(appointments []aa.Appointment) []string {
	list := []string{}
	for _, a := range appointments {
		list = append(list, a.ID)
	}
	return list
}

// status answers every request with it.
func status(status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// count returns how many of the requests are of this kind.
func count(requests []string, kind string) (n int) {
	for _, r := range requests {
		if r == kind {
			n++
		}
	}
	return n
}

const (
	askToken    = "POST /contoso.example/oauth2/v2.0/token"
	askView     = "GET /users/{id}/calendarView"
	askUser     = "GET /users/{id}"
	askUsers    = "GET /users"
	askSchedule = "POST /users/{id}/calendar/getSchedule"
	askPresence = "POST /communications/getPresencesByUserId"
	askSet      = "POST /users/{id}/presence/setPresence"
	askClear    = "POST /users/{id}/presence/clearPresence"
)
