package ews_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/ews"
)

// TestSignIn: by NTLM each connection is signed in once, and by Basic each request.
func TestSignIn(t *testing.T) {
	for _, scheme := range []ews.Scheme{ews.NTLM, ews.Basic} {
		t.Run(string("scheme "+scheme), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				e.Basic = scheme == ews.Basic
				e.Add(tom, in("a", 2*time.Hour))
				cfg := config(e.Serve(t))
				cfg.Scheme, cfg.Polling = scheme, true
				w := start(t, monitor(t, cfg), tom)
				passes(10 * time.Minute)
				require.Greater(t, len(e.Operations()), 7)
				require.Equal(t, []string{"a"}, w.ids())
				require.Zero(t, e.Refusals)
				if scheme == ews.NTLM {
					require.Equal(t, 1, e.SignIns, "the connection stays")
					e.Cut()
					passes(5 * time.Minute)
					require.Equal(t, 2, e.SignIns)
				}
				w.stop()
			})
		})
	}
}

// TestNegotiate: where NTLM is offered as Negotiate only, it is spoken under that name.
func TestNegotiate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Negotiate = true
		e.Add(tom, in("a", 0))
		w := start(t, monitor(t, config(e.Serve(t))), tom)
		require.Equal(t, []string{"a"}, w.ids())
		w.stop()
	})
}

// TestSchemeNotOffered: nothing is sent, and the error says what is offered.
func TestSchemeNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Basic = true
		w := start(t, monitor(t, config(e.Serve(t))), tom)
		require.ErrorIs(t, w.err, ews.ErrScheme)
		require.ErrorContains(t, w.err, `Basic realm=\"mail.example.com\"`)
		require.Zero(t, e.Refusals)
	})
}

// TestRefused: BSX-15, a wrong password is sent once, however many mailboxes there are, until the pause is over or
// there is another password; and what is said of it is not the password.
func TestRefused(t *testing.T) {
	for _, scheme := range []ews.Scheme{ews.NTLM, ews.Basic} {
		t.Run(string("scheme "+scheme), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				e.Basic = scheme == ews.Basic
				cfg := config(e.Serve(t))
				cfg.Scheme = scheme
				var mu sync.Mutex
				secret := "wrong-canary"
				cfg.Credentials = func(context.Context) (ews.Credentials, error) {
					mu.Lock()
					defer mu.Unlock()
					return ews.Credentials{User: fakeews.User, Password: auth.NewSecret([]byte(secret))}, nil
				}
				var log bytes.Buffer
				cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				m := monitor(t, cfg)
				try := func() {
					for i := range 50 {
						mail := fmt.Sprintf("user%d@example.com", i)
						e.Add(mail)
						w := start(t, m, mail)
						passes(time.Second)
						require.ErrorIs(t, w.err, ews.ErrUnauthorized)
						require.NotContains(t, w.err.Error(), secret)
					}
				}
				try()
				require.Equal(t, 1, e.Refusals)
				passes(6 * time.Minute)
				try()
				require.Equal(t, 2, e.Refusals)
				mu.Lock()
				secret = fakeews.Password
				mu.Unlock()
				w := start(t, m, "user1@example.com")
				require.Empty(t, w.ids(), "other credentials are tried at once")

				// A good password that is refused is tried once more: an overloaded server answers 401 as well.
				e.With(func() { e.Password = "changed" })
				e.Cut()
				passes(20 * time.Minute)
				require.ErrorIs(t, w.err, ews.ErrUnauthorized)
				require.LessOrEqual(t, e.Refusals, 4)
				require.NotContains(t, log.String(), "canary")
			})
		})
	}
}

// TestAtOnce: many that begin at the same time sign in one after another until one has.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Password = "other"
		m := monitor(t, config(e.Serve(t)))
		var all sync.WaitGroup
		for i := range 100 {
			e.Add(fmt.Sprintf("user%d@example.com", i))
			all.Go(func() {
				err := m.MonitorCalendar(t.Context(), fmt.Sprintf("user%d@example.com", i), func(presence.CalendarState) {})
				require.ErrorIs(t, err, ews.ErrUnauthorized)
			})
		}
		all.Wait()
		require.Equal(t, 1, e.Refusals)
	})
}

// TestConnectionLost: a connection that ends while signing in says nothing of the password.
func TestConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Add(tom, in("a", 0))
		e.HangUp = true
		m := monitor(t, config(e.Serve(t)))
		w := start(t, m, tom)
		require.Error(t, w.err)
		require.NotErrorIs(t, w.err, ews.ErrUnauthorized)
		passes(10 * time.Second)
		e.With(func() { e.HangUp = false })
		w = start(t, m, tom)
		require.Equal(t, []string{"a"}, w.ids(), "no pause")
		w.stop()
	})
}

// TestPasswordFile: it is read each time, without its last line break.
func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	read := ews.PasswordFile(fakeews.User, path)
	_, err := read(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, secret := range []string{"first", " with spaces "} {
		require.NoError(t, os.WriteFile(path, []byte(secret+"\r\n"), 0o600))
		c, err := read(t.Context())
		require.NoError(t, err)
		require.Equal(t, fakeews.User, c.User)
		require.Equal(t, secret, string(c.Password.Reveal()))
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), secret)
	}
	require.NoError(t, os.WriteFile(path, []byte("\n"), 0o600))
	cfg := config(nil)
	cfg.Credentials = read
	require.ErrorContains(t, monitor(t, cfg).MonitorCalendar(t.Context(), tom, nil), "empty")
}

// TestCanary: BSX-15, whatever goes wrong, the password turns up in no log and no error, nor what it is sent as.
func TestCanary(t *testing.T) {
	pair := base64.StdEncoding.EncodeToString([]byte(fakeews.User + ":" + fakeews.Password))
	for _, scheme := range []ews.Scheme{ews.NTLM, ews.Basic} {
		synctest.Test(t, func(t *testing.T) {
			e := fakeews.New()
			e.Basic = scheme == ews.Basic
			e.Add(tom, in("a", 0))
			cfg := config(e.Serve(t))
			var log bytes.Buffer
			cfg.Scheme, cfg.Logger = scheme, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			said := fmt.Sprintf("%v %+v", cfg, cfg)
			m := monitor(t, cfg)
			echo := func(w http.ResponseWriter, r *http.Request, _ *fakeews.Request) bool { // the worst: it sends back what it got
				w.Header().Set("X-Echo", r.Header.Get("Authorization"))
				http.Error(w, "what?", http.StatusBadRequest)
				return true
			}
			for _, f := range []func(http.ResponseWriter, *http.Request, *fakeews.Request) bool{nil, echo, nil} {
				e.Intercept(f)
				w := start(t, m, tom)
				passes(10 * time.Minute)
				w.stop()
				said += fmt.Sprint(w.err)
			}
			e.With(func() { e.Password = "other" })
			e.Cut()
			w := start(t, m, tom)
			passes(10 * time.Minute)
			w.stop()
			said += fmt.Sprintf("%v %+v %#v", w.err, m, m) + log.String()
			require.NotContains(t, said, fakeews.Password)
			require.NotContains(t, said, "canary")
			require.NotContains(t, said, pair)
		})
	}
}

// TestInsecure: credentials go over TLS, or to this machine.
func TestInsecure(t *testing.T) {
	cfg := config(nil)
	for url, want := range map[string]string{
		"http://mail.example.com/EWS/Exchange.asmx": "not encrypted",
		"ftp://mail.example.com/":                   "https://",
		"https://svc:secret@mail.example.com/":      "use Credentials",
		"https://mail.example.com/%zz":              "malformed URL",
	} {
		cfg.URL = url
		_, err := ews.New(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
	cfg.URL, cfg.AllowHTTP = "http://mail.example.com/EWS/Exchange.asmx", true
	_, err := ews.New(cfg)
	require.NoError(t, err)
}

// TestRedirected: no redirection is followed with credentials, and the error says where one leads.
func TestRedirected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Add(tom)
		e.Intercept(func(w http.ResponseWriter, _ *http.Request, _ *fakeews.Request) bool {
			w.Header().Set("Location", "https://login.example.org/x?secret=1")
			w.WriteHeader(http.StatusFound)
			return true
		})
		asked := 0
		dial := e.Serve(t)
		cfg := config(func(ctx context.Context, network, address string) (net.Conn, error) {
			require.True(t, strings.HasPrefix(address, "localhost:"))
			asked++
			return dial(ctx, network, address)
		})
		w := start(t, monitor(t, cfg), tom)
		require.ErrorContains(t, w.err, "302 Found to https://login.example.org/x")
		require.NotContains(t, w.err.Error(), "secret")
		require.ErrorIs(t, w.err, ews.ErrAnswer)
		require.Equal(t, 1, asked)
	})
}

// TestConfig: all that is wrong is told.
func TestConfig(t *testing.T) {
	_, err := ews.New(ews.Config{
		Access: "magic", Scheme: "kerberos", Interval: -1, Limits: ews.Limits{Rate: -1}, OutOfOffice: &ews.OutOfOffice{Interval: -1},
		WorkingElsewhere: "gone",
	})
	for _, want := range []string{"URL", "Credentials", "Access", "Scheme", "Interval", "Limits.Rate", "OutOfOffice.Interval", "WorkingElsewhere"} {
		require.ErrorContains(t, err, "ews: Config."+want+":")
	}
	cfg := config(nil)
	cfg.Access, cfg.OutOfOffice = ews.Delegation, new(ews.OutOfOffice)
	_, err = ews.New(cfg)
	require.ErrorContains(t, err, "needs Impersonation")
	cfg = config(nil)
	cfg.Access, cfg.Future = ews.Availability, 60*24*time.Hour
	_, err = ews.New(cfg)
	require.ErrorContains(t, err, "42 days")
	cfg = config(nil)
	cfg.Autodiscover = []string{"example.com"}
	_, err = ews.New(cfg)
	require.ErrorContains(t, err, "one of URL and Autodiscover")
	cfg.URL, cfg.Autodiscover = "", []string{"https://example.com"}
	_, err = ews.New(cfg)
	require.ErrorContains(t, err, "is no domain")
}
