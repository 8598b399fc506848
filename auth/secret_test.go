package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

const canary = "c4n4ry-P@ss"

// holder has a secret where fmt cannot ask for its methods.
type holder struct {
	s auth.Secret
	c auth.Credentials
}

// dumps prints a value in every way that a log or a dump might.
func dumps(t testing.TB, values ...any) string {
	var b bytes.Buffer
	text := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	structured := slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		text.Info("x", "v", v)
		structured.Info("x", "v", v)
		if j, err := json.Marshal(v); err == nil {
			b.Write(j)
		}
	}
	return b.String()
}

func requireNoCanary(t testing.TB, dump string) {
	t.Helper()
	for _, form := range []string{
		canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		strings.TrimRight(base64([]byte(canary)), "="),
	} {
		if i := strings.Index(dump, form); i >= 0 {
			t.Fatalf("the password shows: …%s…", dump[max(0, i-200):min(len(dump), i+50)])
		}
	}
}

func TestSecret(t *testing.T) {
	s := auth.NewSecret([]byte(canary))
	c, err := auth.NewCredentials(`DE\tom`, []byte(canary))
	require.NoError(t, err)
	dump := dumps(t, s, &s, c, &c, holder{s, c}, &holder{s, c}, []auth.Secret{s}, map[string]auth.Secret{"x": s})
	requireNoCanary(t, dump)
	require.Contains(t, dump, auth.Redacted)

	text, err := s.MarshalText()
	require.NoError(t, err)
	require.Equal(t, auth.Redacted, string(text))
	require.Equal(t, auth.Redacted, s.String())
}

// BSP-2.10-7: wiping overwrites the bytes, of all copies.
func TestWipe(t *testing.T) {
	b := []byte(canary)
	s := auth.NewSecret(b)
	other, clone := s, s.Clone()
	s.Wipe()
	require.Equal(t, make([]byte, len(b)), b)
	require.Zero(t, other.Len())
	require.Equal(t, canary, string(clone.Reveal()))

	var zero auth.Secret
	zero.Wipe()
	require.Zero(t, zero.Len())

	c, err := auth.NewCredentials("tom", []byte("x"))
	require.NoError(t, err)
	require.False(t, c.IsZero())
	c.Wipe()
	require.Zero(t, c.Password.Len())
	require.True(t, auth.Credentials{}.IsZero())
}

// BSP-2.10-7: after a check, the verifier's password has been wiped.
func TestVerifierPasswordIsWiped(t *testing.T) {
	f := newFixture(t, nil)
	var kept []byte
	f.verifier.override = func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
		kept = c.Password.Reveal()
		return auth.Identity{Account: "tom"}, nil
	}
	require.Equal(t, auth.Accept, f.try(f.request("tom"), `DE\tom`, canary).Verdict)
	require.Equal(t, make([]byte, len(canary)), kept)
}

// BSP-2.10-7: the password shows nowhere: not in the log, not in decisions and
// events, not in a dump of the guard, not in the store; whatever the verifier
// does.
func TestCanary(t *testing.T) {
	for name, verify := range map[string]func(string) (auth.Identity, error){
		"accepts":   func(string) (auth.Identity, error) { return auth.Identity{Account: `DE\tom`}, nil },
		"refuses":   func(string) (auth.Identity, error) { return auth.Identity{}, auth.ErrAccountLocked },
		"fails":     func(string) (auth.Identity, error) { return auth.Identity{}, errors.New("down") },
		"prints it": func(p string) (auth.Identity, error) { return auth.Identity{}, errors.New("bind with " + p) },
		"refuses and prints": func(p string) (auth.Identity, error) {
			return auth.Identity{}, fmt.Errorf("%w: %s", auth.ErrBadPassword, p)
		},
		"refuses and prints 2": func(p string) (auth.Identity, error) {
			return auth.Identity{}, fmt.Errorf("%w: %s", auth.ErrBadCredentials, p)
		},
		"panics with it": func(p string) (auth.Identity, error) { panic("with " + p) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				var events []any
				hook := func(e auth.Event) { events = append(events, e) }
				kept := ""
				f := newFixture(t, func(c *auth.Config) {
					c.Basic = auth.Anywhere
					c.KeepSession = func(r auth.SessionRecord) { kept += r.Key + string(r.Value) }
					c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
					c.OnDecision = hook
				})
				f.verifier.override = func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
					return verify(string(c.Password.Reveal()))
				}
				var decisions []any
				for range 6 { // the last are throttled where it refuses
					decisions = append(decisions, f.try(f.request("tom"), `DE\tom`, canary))
				}
				r := f.request("tom")
				r.Authorization = []string{`Basic username="DE\tom:` + canary + `"`}
				decisions = append(decisions, f.Check(r))
				r.Authorization = []string{`Basic username="DE\tom:` + canary + `\`}
				decisions = append(decisions, f.Check(r), f.Stats())
				r.Rauth = canary
				decisions = append(decisions, f.Check(r))

				synctest.Wait() // for the log
				require.NotEmpty(t, events)
				require.NotEmpty(t, log.String())
				require.Equal(t, name == "accepts", kept != "")
				for _, what := range []string{log.String(), dumps(t, events...), dumps(t, decisions...), dumps(t, f.Guard), kept} {
					requireNoCanary(t, what)
				}
			})
		})
	}
}

// A nil logger is silent, and hooks and counters agree.
func TestHooksAndStats(t *testing.T) {
	got := make(map[string]int)
	f := newFixture(t, func(c *auth.Config) {
		c.OnDecision = func(e auth.Event) {
			got[e.Verdict.String()+" "+string(e.Via)+" "+auth.Reason(e.Reason)]++
		}
	})
	r := f.request("tom")
	answer := f.answer(r, f.Check(r), `DE\tom`, "secret")
	f.Check(answer)
	f.Check(answer)
	f.Check(r)
	f.fail(f.request("bill"), `DE\bill`, 4)
	f.try(f.request("bill"), `DE\bill`, "other")
	f.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
		return auth.Identity{}, errors.New("down")
	}
	f.try(f.request("ann"), `DE\ann`, "x")

	require.Equal(t, map[string]int{
		"challenge  no_credentials": 1, "challenge  malformed": 6,
		"accept credentials ": 1, "accept proof ": 1, "accept session ": 1,
		"challenge credentials bad_password": 4, "forbid credentials throttled": 1, "unavailable credentials unavailable": 1,
	}, got)
	s := f.Stats()
	require.Positive(t, s.VerifyTime)
	s.VerifyTime = 0
	require.Equal(t, auth.Stats{
		MaxVerifying: 2 * 128, MaxPending: 3 * 128, MaxRecords: 100_000,
		Challenges: 3, Sessions: 1, Failures: 2, Known: 2,
		Accepted: 3, Challenged: 7, Refused: 4, Throttled: 1, Unavailable: 1, Verifications: 6,
	}, s)
}
