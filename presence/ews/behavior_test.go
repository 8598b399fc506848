package ews_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/calendar/calendartest"
	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/ews"
)

// TestBehavior: BSX-15, what every calendar monitor must show.
func TestBehavior(t *testing.T) {
	for name, change := range map[string]func(*ews.Config){
		"polling":   func(c *ews.Config) { c.Polling = true },
		"streaming": func(c *ews.Config) { c.Resync = 30 * time.Second },
	} {
		t.Run(name, func(t *testing.T) { calendartest.Run(t, func(t *testing.T) calendartest.Rig { return rig(t, change) }) })
	}
}

func rig(t *testing.T, change func(*ews.Config)) calendartest.Rig {
	e := fakeews.New()
	e.Basic, e.User, e.Password = true, calendartest.User, calendartest.Canary
	e.Add(calendartest.Mail)
	e.Heartbeat = 2 * time.Minute
	return calendartest.Rig{
		Server: calendartest.Transport(e),
		Monitor: func(t *testing.T, rt http.RoundTripper, log *slog.Logger) presence.CalendarMonitor {
			cfg := config(front(t, rt))
			cfg.Scheme, cfg.Logger, cfg.Limits.ResponseBytes = ews.Basic, log, 1<<19
			cfg.Credentials = func(context.Context) (ews.Credentials, error) {
				return ews.Credentials{User: calendartest.User, Password: auth.NewSecret([]byte(calendartest.Canary))}, nil
			}
			change(&cfg)
			return monitor(t, cfg)
		},
		Set: func(events ...calendartest.Event) {
			e.Change(calendartest.Mail, func(b *fakeews.Mailbox) { b.Items = itemsOf(events) })
		},
		Shows: 80 * time.Second,
		Move: func() {
			e.Change(calendartest.Mail, func(b *fakeews.Mailbox) { b.Fails = "ErrorMailboxMoveInProgress" })
			time.AfterFunc(4*time.Minute, func() { e.With(func() { e.Mailboxes[calendartest.Mail].Fails = "" }) })
		},
		Throttle: func(w http.ResponseWriter, _ *http.Request, wait time.Duration) { fakeews.Busy(w, wait) },
		Refuse: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="mail.example.com"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	}
}

// itemsOf returns the appointments as Exchange expands them.
func itemsOf(events []calendartest.Event) (items []fakeews.Item) {
	for _, v := range events {
		i := fakeews.Item{Subject: v.Subject, Location: v.Location, AllDay: v.AllDay}
		switch v.State {
		case aa.CalendarFree:
			i.Status = "Free"
		case aa.CalendarTentative:
			i.Status = "Tentative"
		case aa.CalendarOutOfOffice:
			i.Status = "OOF"
		}
		if v.Private {
			i.Sensitivity = "Private"
		}
		for _, o := range v.Occurrences() {
			i.ID, i.From, i.To = v.ID+"/"+fakeews.Zulu(o.Planned), o.Begin, o.End
			items = append(items, i)
		}
	}
	return items
}

// front returns how to dial a server that passes requests on to rt, and breaks the connection where that fails.
func front(t *testing.T, rt http.RoundTripper) fakeews.Dialer {
	return fakeews.Serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		out := r.Clone(r.Context())
		out.Body, out.RequestURI = io.NopCloser(bytes.NewReader(body)), ""
		out.URL.Scheme, out.URL.Host = "http", r.Host
		resp, err := rt.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		flush := http.NewResponseController(w)
		_ = flush.Flush()
		buf := make([]byte, 32<<10)
		for {
			n, err := resp.Body.Read(buf)
			if _, failed := w.Write(buf[:n]); failed != nil {
				return
			}
			_ = flush.Flush()
			if err == io.EOF {
				return
			} else if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	}), ErrorLog: fakeews.Quiet})
}
