package caldav_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

func TestCredentials(t *testing.T) {
	const password = "pass:wörd"
	with := func(d *dav, url, password string) caldav.Config {
		cfg := config(d)
		cfg.URL = url
		cfg.Credentials = func(_ context.Context, mail string) (caldav.Credentials, error) {
			return caldav.Credentials{User: mail, Password: auth.NewSecret([]byte(password))}, nil
		}
		return cfg
	}
	tests := []struct {
		name, url, password string
		before              func(http.ResponseWriter, *http.Request) bool
		want                error
	}{
		{"right", "https://dav.example.com/", password, nil, nil},
		{"wrong", "https://dav.example.com/", "wrong", nil, caldav.ErrUnauthorized},
		{"not encrypted", "http://dav.example.com/", password, nil, caldav.ErrInsecure},
		{"not encrypted, loopback", "http://127.0.0.1:5232/", password, nil, nil},
		{"redirected", "https://dav.example.com/elsewhere", password, redirect("/elsewhere", "/"), nil},
		{"well-known", "https://dav.example.com/login", password, redirect("/.well-known/caldav", "/"), nil},
		{"redirected to another host", "https://dav.example.com/", password, redirect("/", "https://evil.example.org/"), caldav.ErrInsecure},
		{"redirected to plain text", "https://dav.example.com/", password, redirect("/", "http://dav.example.com/x"), caldav.ErrInsecure},
		{"redirected in circles", "https://dav.example.com/", password, redirect("/", "/"), errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.user, d.password = "tom.hanks@example.com", password
				d.intercept(tt.before)
				d.put("a", at("a", time.Hour))
				w := start(t, with(d, tt.url, tt.password))
				err, ended := w.result()
				if tt.want == nil {
					require.NoError(t, err)
					require.Equal(t, []string{"a"}, ids(w.last()))
					w.cancel()
					return
				}
				require.True(t, ended)
				require.Error(t, err)
				if tt.want != errors.ErrUnsupported {
					require.ErrorIs(t, err, tt.want)
				}
				require.NotContains(t, err.Error(), tt.password)
			})
		})
	}
	t.Run("the query is not printed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			cfg := config(d)
			cfg.URL = "https://dav.example.com/{user}/?key=s3cret"
			cfg.HTTPClient = &http.Client{Transport: unreachable{}}
			err, ended := start(t, cfg).result()
			require.True(t, ended)
			require.ErrorIs(t, err, errUnreachable)
			require.ErrorContains(t, err, "https://dav.example.com/tom.hanks/")
			require.NotContains(t, err.Error(), "s3cret")
		})
	})
	t.Run("not printed", func(t *testing.T) {
		c := caldav.Credentials{User: "tom", Password: auth.NewSecret([]byte(password))}
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), password)
	})
}

var errUnreachable = errors.New("unreachable")

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) { return nil, errUnreachable }

func redirect(from, to string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != from {
			return false
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusMovedPermanently)
		return true
	}
}

// TestRefusedOnce: a wrong password of a service account is not sent again for
// each mailbox and attempt.
func TestRefusedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		d.user, d.password = "presence", "right"
		password := "wrong"
		cfg := config(d)
		cfg.Credentials = func(context.Context, string) (caldav.Credentials, error) {
			return caldav.Credentials{User: "presence", Password: auth.NewSecret([]byte(password))}, nil
		}
		m, err := caldav.New(cfg)
		require.NoError(t, err)
		try := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return m.MonitorCalendar(ctx, "tom.hanks@example.com", func(presence.CalendarState) {})
		}
		require.ErrorIs(t, try(), caldav.ErrUnauthorized)
		require.Len(t, d.asked(), 1)
		for range 9 {
			time.Sleep(30 * time.Second)
			require.ErrorIs(t, try(), caldav.ErrUnauthorized)
			require.Empty(t, d.asked())
		}
		time.Sleep(30 * time.Second)
		require.ErrorIs(t, try(), caldav.ErrUnauthorized)
		require.Len(t, d.asked(), 1)

		password = "right"
		require.ErrorIs(t, try(), context.DeadlineExceeded, "other credentials are tried at once")
	})
}
