package ews_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/presence/ews"
)

// missing skips a test for want of what it needs.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
		t.Fatal(what)
	}
	t.Skip(what + "; BLUSTAR_INTEGRATION=required makes this an error")
}

// schema is the published schema of EWS with an envelope around it. It is not ours to pass on.
const schema = "../../../shared/exchange/schemas/soap.xsd"

// TestRequestsValid: BSX-15, every request that there is has the form that the schema wants.
func TestRequestsValid(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		missing(t, "xmllint is not installed (Debian: libxml2-utils)")
	}
	if _, err := os.Stat(schema); err != nil {
		t.Skip("the schema is not here: " + schema)
	}
	bodies := make(map[string]string) // by access and operation
	synctest.Test(t, func(t *testing.T) {
		for _, access := range []ews.Access{ews.Impersonation, ews.Delegation, ews.Availability} {
			e := fakeews.New()
			cfg := config(e.Serve(t))
			cfg.Access = access
			if access == ews.Impersonation {
				cfg.OutOfOffice = new(ews.OutOfOffice)
			}
			m := monitor(t, cfg)
			mails := []string{tom, `o'brien&co"<x>@example.com`, "jürgen@example.com"}
			var all []*watch
			for _, mail := range mails {
				e.Add(mail, in("a", 0))
				all = append(all, start(t, m, mail))
			}
			passes(time.Hour)
			for _, w := range all {
				require.NotZero(t, w.count())
				w.stop()
			}
			for _, q := range e.Requests() {
				bodies[fmt.Sprintf("%s.%s.%d", access, q.Operation, len(bodies))] = q.Body
			}
		}
	})
	folder := t.TempDir()
	args := []string{"--nonet", "--noout", "--schema", schema}
	seen := make(map[string]bool)
	for name, body := range bodies {
		file := filepath.Join(folder, name+".xml")
		require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
		args = append(args, file)
		access, rest, _ := strings.Cut(name, ".")
		operation, _, _ := strings.Cut(rest, ".")
		seen[access+" "+operation] = true
	}
	for _, want := range []string{
		" FindItem", " Subscribe", " GetStreamingEvents", " Unsubscribe", " GetUserOofSettingsRequest",
		"delegation FindItem", "availability GetUserAvailabilityRequest",
	} {
		require.True(t, seen[want], want)
	}
	out, err := exec.Command(lint, args...).CombinedOutput()
	require.NoError(t, err, "%s", bytes.TrimSpace(out))
}

// TestExchangelib: BSX-15, a foreign client believes the fake that the monitor is tested with: FindItem, what the
// owner says, availability, and notifications, whose affinity it keeps.
func TestExchangelib(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import exchangelib").Run(); err != nil {
		missing(t, "exchangelib is not installed (Debian: python3-exchangelib)")
	}
	e := fakeews.New()
	const secret = "requests sends Latin-1" // and ours UTF-8
	e.Basic, e.Heartbeat, e.Password = true, 200*time.Millisecond, secret
	day := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	e.Add(tom,
		fakeews.Item{ID: "A=", From: day.Add(9 * time.Hour), To: day.Add(10 * time.Hour), Subject: "Büro <&> Plan", Sensitivity: "Private"},
		fakeews.Item{ID: "B=", From: day.Add(11 * time.Hour), To: day.Add(12 * time.Hour), Subject: "Lunch", Status: "OOF"},
		fakeews.Item{ID: "C=", From: day.Add(48 * time.Hour), To: day.Add(49 * time.Hour), Subject: "Another day"},
	)
	url := e.ServeTLS(t)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := exec.CommandContext(ctx, python, "testdata/exchangelib_client.py", url, fakeews.User, secret, tom)
	var out, errs bytes.Buffer
	client.Stdout, client.Stderr = &out, &errs
	require.NoError(t, client.Start())
	told := make(chan struct{})
	go func() {
		defer close(told)
		for ctx.Err() == nil {
			listening := false
			e.With(func() { listening = len(e.Streams) > 0 })
			if listening {
				e.Change(tom, func(*fakeews.Mailbox) {})
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	err := client.Wait()
	cancel()
	<-told
	require.NoError(t, err, "%s", errs.String())
	require.Equal(t, strings.Join([]string{
		"item Büro <&> Plan 2026-11-26T09:00:00+00:00 2026-11-26T10:00:00+00:00 Busy Private",
		"item Lunch 2026-11-26T11:00:00+00:00 2026-11-26T12:00:00+00:00 OOF Normal",
		"oof Disabled",
		"availability Detailed 2026-11-26T09:00:00+00:00 Busy",
		"availability Detailed 2026-11-26T11:00:00+00:00 OOF",
		"events ModifiedEvent FreeBusyChangedEvent ModifiedEvent FreeBusyChangedEvent ModifiedEvent FreeBusyChangedEvent ModifiedEvent",
		"unsubscribed",
	}, "\n"), strings.TrimSpace(out.String()))
	var stream *fakeews.Request
	for _, q := range e.Requests() {
		if q.Operation == "GetStreamingEvents" {
			stream = &q
		}
	}
	require.NotNil(t, stream)
	require.True(t, stream.Affinity)
	require.NotEmpty(t, stream.Cookie)
}
