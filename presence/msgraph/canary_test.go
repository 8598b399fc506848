package msgraph_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

// TestCanary: neither the secret nor a token is in a log, an error or a dump, whatever the servers
// answer; they may repeat what they were sent. Only the login service gets the secret, and only
// Graph a token.
func TestCanary(t *testing.T) {
	const secret = "c4n4ry/S3cr3t"
	var mu sync.Mutex
	var tokens []string // all that Graph got
	leaks := func(where, text string) {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(tokens)
		tokens = slices.Compact(tokens)
		for _, s := range append([]string{secret}, tokens...) {
			for _, form := range []string{s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)), strings.Trim(fmt.Sprint([]byte(s)), "[]"), fmt.Sprintf("%x", s)} {
				require.NotContains(t, text, form, where)
			}
		}
	}
	var log bytes.Buffer
	for name, spoil := range map[string]func(w http.ResponseWriter, r *http.Request, sent string) bool{
		"nothing": func(http.ResponseWriter, *http.Request, string) bool { return false },
		"a proxy that repeats all": func(w http.ResponseWriter, r *http.Request, sent string) bool {
			if strings.HasSuffix(r.URL.Path, "/token") {
				return false
			}
			w.Header().Set("Content-Type", sent)
			w.Header().Set("request-id", sent)
			w.WriteHeader(http.StatusBadGateway)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": sent, "message": sent, "innerError": map[string]any{"request-id": sent}}})
			return true
		},
		"a login service that repeats all": func(w http.ResponseWriter, r *http.Request, sent string) bool {
			w.Header().Set("request-id", sent)
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": sent, "error_description": sent})
			return true
		},
		"no JSON": func(w http.ResponseWriter, r *http.Request, sent string) bool {
			_, _ = io.WriteString(w, sent)
			return true
		},
		"redirected": func(w http.ResponseWriter, r *http.Request, sent string) bool {
			w.Header().Set("Location", "https://evil.example/?"+url.QueryEscape(sent))
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			s.Secret = secret
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				authorization := r.Header.Get("Authorization")
				if value, ok := strings.CutPrefix(authorization, "Bearer "); ok {
					mu.Lock()
					tokens = append(tokens, value)
					mu.Unlock()
				}
				login := strings.HasSuffix(r.URL.Path, "/token")
				require.Equal(t, login, strings.Contains(string(body), url.QueryEscape(secret)))
				require.Equal(t, login, r.Host == "login.microsoftonline.com")
				require.Equal(t, !login, r.Host == "graph.microsoft.com")
				require.Equal(t, login, authorization == "")
				return spoil(w, r, authorization+string(body))
			})
			cfg := config(t, s)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			app := newApp(t, cfg)
			calendar, err := app.NewCalendar(msgraph.CalendarConfig{Failures: -1})
			require.NoError(t, err)
			teams, err := app.NewTeams(msgraph.TeamsConfig{})
			require.NoError(t, err)
			writer, err := teams.NewWriter(msgraph.WriterConfig{})
			require.NoError(t, err)
			o := &office{T: t, s: s, teams: teams, writer: writer}
			o.serve()
			o.seen = watchTeams(t, teams, tomMail)
			o.line(aa.LineBusy)
			for range 3 {
				w := watchCalendar(t, calendar, tomMail)
				time.Sleep(10 * time.Minute)
				if err, ended := w.result(); ended {
					leaks(name, fmt.Sprintf("%v %+v %#v", err, err, err))
				}
				w.cancel()
			}
			for _, v := range []any{app, calendar, teams, writer, cfg} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
					leaks(name, fmt.Sprintf(verb, v))
				}
			}
			o.close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = teams.MonitorExternal(ctx, entry("nobody@contoso.example"), func(presence.ExternalState) {})
			leaks(name, fmt.Sprint(err))
		})
	}
	require.NotEmpty(t, tokens)
	require.NotZero(t, log.Len())
	leaks("log", log.String())
}
