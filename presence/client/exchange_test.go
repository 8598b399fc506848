package client_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
)

// A guard is a server that challenges, as §2.10 prints it: it keeps the last key
// that it gave out.
type guard struct {
	mu     sync.Mutex
	n      int
	key    string
	always bool // never satisfied
	once   bool // asks each request; else a success lasts
	in     bool
	tried  []string // the credentials that came
	cipher auth.Cipher
}

func (g *guard) check(req *sipx.Request) *sipx.Response {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rauth := req.Header.Get("X-BSS-rauth"); rauth != "" {
		c, err := auth.DecryptCredentials(g.cipher, g.key, rauth)
		if err == nil {
			g.tried = append(g.tried, c.Name.String()+":"+string(c.Password.Reveal()))
			if !g.always {
				g.in = !g.once
				return nil
			}
		}
	} else if g.in {
		return nil
	}
	g.n++
	g.key = strings.Repeat(string(rune('0'+g.n%10)), 56)
	return sipx.NewResponse(401, field("X-BSS-auth", g.key))
}

// attempts returns the credentials that came so far.
func (g *guard) attempts() []string {
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.tried)
}

// BSP-2.10-1, BSP-2.10-6: each request is answered by itself, under the key of
// its own challenge; keys change at any time.
func TestChallenge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cipher auth.Cipher
	}{{"tuz", nil}, {"aes-gcm", auth.AESGCM{}}} {
		t.Run(tt.name, func(t *testing.T) {
			change := func(cfg *client.Config) { cfg.Credentials, cfg.Cipher = credentials(t), tt.cipher }
			run(t, change, func(t *testing.T, s *server, c *client.Client, in *inbox) {
				g := &guard{once: true, cipher: tt.cipher}
				if g.cipher == nil {
					g.cipher = auth.Tuz{}
				}
				s.play(g.check)
				require.NoError(t, c.Watch(t.Context(), ann))
				require.NoError(t, c.Publish(t.Context(), client.Publication{}))
				sent := s.seen("")
				require.Len(t, sent, 8)
				for i := 0; i < len(sent); i += 2 {
					first, second := sent[i], sent[i+1]
					require.Empty(t, first.Header.Get("X-BSS-rauth"))
					require.NotEmpty(t, second.Header.Get("X-BSS-rauth"))
					require.Equal(t, first.CallID, second.CallID)
					require.Equal(t, first.From, second.From)
					require.Equal(t, first.CSeq+1, second.CSeq)
					require.Equal(t, first.Body, second.Body)
				}
				for _, got := range g.attempts() {
					require.Equal(t, `DE\tom:p:a\ss`, got)
				}
				require.Len(t, in.lines(), 2)

				// The refresh is challenged too (BSP-2.10-6).
				time.Sleep(250 * time.Second)
				require.Len(t, s.seen("SUBSCRIBE"), 4)
			})
		})
	}
}

// Requests of one client do not overlap: the server keeps one key for each
// client (BSP-2.10-3), and two challenges at a time would spoil each other.
func TestConcurrentCallsShareOneChallenge(t *testing.T) {
	change := func(cfg *client.Config) { cfg.Credentials = credentials(t) }
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		s.play((&guard{once: true, cipher: auth.Tuz{}}).check)
		failed := make(chan error, 12)
		for range 4 {
			go func() { failed <- c.Watch(t.Context(), ann) }()
			go func() { failed <- c.Publish(t.Context(), client.Publication{}) }()
			go func() { _, err := c.Fetch(t.Context(), ann); failed <- err }()
		}
		for range 12 {
			require.NoError(t, <-failed)
		}
	})
}

// A wrong password is tried once, not again and again until the account is
// locked (BSP-2.10-8).
func TestWrongPassword(t *testing.T) {
	t.Run("at first", func(t *testing.T) {
		change := func(cfg *client.Config) { cfg.Credentials = credentials(t) }
		run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
			g := &guard{always: true, cipher: auth.Tuz{}}
			s.play(g.check)
			err := c.Watch(t.Context(), ann)
			require.ErrorIs(t, err, client.ErrUnauthorized)
			require.NotContains(t, err.Error(), "p:a")
			require.Len(t, g.attempts(), 1)
			time.Sleep(24 * time.Hour)
			require.Len(t, g.attempts(), 1)
		})
	})
	t.Run("changed meanwhile", func(t *testing.T) {
		var lost chan error
		change := func(cfg *client.Config) {
			lost = make(chan error, 1)
			cfg.Credentials = credentials(t)
			cfg.PublicationLost = func(err error) { lost <- err }
		}
		run(t, change, func(t *testing.T, s *server, c *client.Client, in *inbox) {
			require.NoError(t, c.SignIn(t.Context()))
			require.NoError(t, c.Publish(t.Context(), client.Publication{}))
			in.take()
			g := &guard{always: true, cipher: auth.Tuz{}}
			s.play(g.check)
			time.Sleep(24 * time.Hour)
			require.Len(t, g.attempts(), 2, "one for the subscription, one for the publication")
			require.ErrorIs(t, <-lost, client.ErrUnauthorized)
			told := in.take()
			require.Len(t, told, 1)
			require.ErrorIs(t, told[0].Err, client.ErrUnauthorized)
			require.Equal(t, client.Terminated, told[0].State)
			require.True(t, told[0].Own)
			require.Contains(t, told[0].Summary().Ended, "401")
		})
	})
	t.Run("no credentials", func(t *testing.T) {
		run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
			s.play((&guard{cipher: auth.Tuz{}}).check)
			err := c.SignIn(t.Context())
			require.ErrorIs(t, err, client.ErrUnauthorized)
			require.ErrorContains(t, err, "no credentials")
			require.Len(t, s.seen(""), 1)
		})
	})
}

// RFC 8760: the standard challenge, of the server and of a proxy on the way.
func TestDigest(t *testing.T) {
	change := func(cfg *client.Config) { cfg.Standard, cfg.Credentials = true, credentials(t) }
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		s.play(func(req *sipx.Request) *sipx.Response {
			switch {
			case req.Header.Get("Proxy-Authorization") == "":
				return sipx.NewResponse(407, field("Proxy-Authenticate", `Digest realm="proxy", nonce="a", qop="auth"`))
			case req.Header.Get("Authorization") == "":
				return sipx.NewResponse(401, field("WWW-Authenticate", `Digest realm="server", nonce="b", algorithm=SHA-256`))
			}
			return nil
		})
		require.NoError(t, c.SignIn(t.Context()))
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		sent := s.seen("")
		require.Len(t, sent, 6)
		require.Contains(t, sent[2].Header.Get("Authorization"), `uri="`+tom+`"`)
		require.Empty(t, sent[2].Header.Get("X-BSS-rauth"))
		require.Equal(t, []string{"<sip:192.0.2.1:5060;lr>"}, routes(sent[0]), "the way to the server")

		s.play(status("PUBLISH", 407, field("Proxy-Authenticate", `Digest realm="proxy", nonce="a"`)))
		require.ErrorIs(t, c.Publish(t.Context(), client.Publication{}), client.ErrUnauthorized)
		require.Len(t, s.seen(""), 2, "once")
	})
}

func routes(req *sipx.Request) []string {
	var list []string
	for v := range req.Header.Values("Route") {
		list = append(list, v)
	}
	return list
}

// RFC 6665 §4.1.2.1: 423 names the shortest expiry.
func TestIntervalTooBrief(t *testing.T) {
	change := func(cfg *client.Config) { cfg.SubscribeExpires, cfg.PublishExpires = 10*time.Second, 10*time.Second }
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		s.play(func(req *sipx.Request) *sipx.Response {
			if n, _ := sipx.Seconds(req.Header.Get("Expires")); n < 60 {
				return sipx.NewResponse(423, field("Min-Expires", "60"))
			}
			return nil
		})
		require.NoError(t, c.SignIn(t.Context()))
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		for _, r := range s.seen("") {
			require.Contains(t, []string{"10", "60"}, r.Header.Get("Expires"))
		}
		time.Sleep(48 * time.Second)
		require.NotEmpty(t, s.seen(""), "it counts on what was granted")
	})
}

// BSP-2.10-9: 503 with Retry-After is waited out, as long as the caller does, and who uses
// the client hears of it.
func TestServiceUnavailable(t *testing.T) {
	var heard []string
	change := func(cfg *client.Config) {
		cfg.Waiting = func(e *client.StatusError) { heard = append(heard, e.Error()) }
	}
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		n := 0
		s.play(func(*sipx.Request) *sipx.Response {
			if n++; n <= 2 {
				res := sipx.NewResponse(503, field("Retry-After", "20 (for long)"))
				res.Reason = "the directory is down"
				return res
			}
			return nil
		})
		started := time.Now()
		require.NoError(t, c.SignIn(t.Context()))
		require.Equal(t, 40*time.Second, time.Since(started))
		text := "client: SUBSCRIBE was answered 503 the directory is down (Retry-After: 20s)"
		require.Equal(t, []string{text, text}, heard)

		s.play(status("PUBLISH", 503, field("Retry-After", "20")))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		started = time.Now()
		require.ErrorContains(t, c.Publish(ctx, client.Publication{}), "503 Service Unavailable (Retry-After: 20s)")
		require.Zero(t, time.Since(started), "no use in waiting")
		require.Len(t, heard, 2)

		s.play(status("PUBLISH", 503))
		require.ErrorContains(t, c.Publish(t.Context(), client.Publication{}), "503")
	})
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		s.network.Blackhole("192.0.2.1", true)
		require.ErrorIs(t, c.SignIn(t.Context()), sipx.ErrTimeout)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		require.ErrorIs(t, c.SignIn(ctx), context.Canceled)

		// Who waits for another call stops waiting with its context.
		go func() { _ = c.SignIn(t.Context()) }()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Publish(ctx, client.Publication{}), context.DeadlineExceeded)
	})
}

// BSP-2.10-7: no secret in what is logged or printed.
func TestNothingPrintsThePassword(t *testing.T) {
	var log strings.Builder
	change := func(cfg *client.Config) {
		cfg.Credentials = credentials(t)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Logger.Info("made", "config", *cfg)
	}
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		g := &guard{always: true, cipher: auth.Tuz{}}
		require.NoError(t, c.SignIn(t.Context()))
		s.play(g.check)
		time.Sleep(time.Hour)
		require.NotEmpty(t, g.attempts())
	})
	require.Contains(t, log.String(), "given up")
	require.NotContains(t, log.String(), `p:a`)
}
