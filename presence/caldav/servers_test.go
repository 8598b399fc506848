package caldav_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/rig"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

// davServer is a CalDAV server that somebody else wrote, as a child process.
type davServer struct {
	t      *testing.T
	host   string
	home   string // of Tom's calendars
	back   int    // in days, where a series began that it finds
	args   []string
	client *http.Client
	stop   func()
}

// installed returns the path of a program. The test is skipped where it is not there, unless
// BLUSTAR_INTEGRATION is "required".
func installed(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, program+" is not installed (Debian: "+debianPackage+")")
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// startServer starts a server with an empty storage in a folder.
func startServer(t *testing.T, program, home string, back int, args func(folder, host string) []string) *davServer {
	path := installed(t, program, program)
	host := net.JoinHostPort(rig.Address(t), "8080")
	transport := &http.Transport{}
	r := &davServer{t: t, host: host, home: home, back: back, client: &http.Client{Transport: transport}}
	r.args = append([]string{path}, args(t.TempDir(), host)...)
	r.start()
	t.Cleanup(func() {
		r.stop()
		transport.CloseIdleConnections()
	})
	return r
}

func startRadicale(t *testing.T) *davServer {
	return startServer(t, "radicale", "/tom/", 700, func(folder, host string) []string {
		for name, text := range map[string]string{
			"users": "tom:right password\n",
			"config": fmt.Sprintf("[server]\nhosts = %s\n[auth]\ntype = htpasswd\nhtpasswd_filename = %[2]s/users\nhtpasswd_encryption = plain\ndelay = 0\n"+
				"[storage]\nfilesystem_folder = %[2]s/storage\n", host, folder),
		} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
		}
		return []string{"--config", filepath.Join(folder, "config")}
	})
}

// startXandikos starts the other one, which asks nobody for a password. Version 0.2.8 does not find
// a series that began before the range that it is asked for, as RFC 4791 §9.9 wants.
func startXandikos(t *testing.T) *davServer {
	return startServer(t, "xandikos", "/tom/calendars/", 0, func(folder, host string) []string {
		address, port, _ := net.SplitHostPort(host)
		return []string{"-d", folder, "--defaults", "--current-user-principal", "/tom/", "-l", address, "-p", port}
	})
}

func (r *davServer) start() {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, r.args[0], r.args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(r.t, cmd.Start())
	r.stop = func() {
		cancel()
		_ = cmd.Wait() // interrupted
		if r.t.Failed() {
			r.t.Log(output.String())
		}
	}
	require.Eventually(r.t, func() bool {
		c, err := net.Dial("tcp", r.host)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, time.Minute, 50*time.Millisecond, "it does not listen")
}

func (r *davServer) do(method, path, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.host+r.home+path, strings.NewReader(body))
	require.NoError(r.t, err)
	req.SetBasicAuth("tom", "right password")
	if method == http.MethodPut {
		req.Header.Set("Content-Type", "text/calendar")
	}
	resp, err := r.client.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	require.Equal(r.t, 2, resp.StatusCode/100, "%s %s: %s", method, path, answer)
}

func (r *davServer) put(name string, data []byte) {
	r.t.Helper()
	r.do(http.MethodPut, "work/"+name+".ics", string(data))
}

func (r *davServer) config(password string) caldav.Config {
	base, _, _ := strings.Cut(r.home, "tom/")
	return caldav.Config{
		URL: "http://" + r.host + base, HTTPClient: r.client,
		Credentials: func(context.Context, string) (caldav.Credentials, error) {
			return caldav.Credentials{User: "tom", Password: auth.NewSecret([]byte(password))}, nil
		},
		Interval: 100 * time.Millisecond, Future: 400 * 24 * time.Hour, Location: time.UTC,
	}
}

// zones that a server must know too to find events in a range.
const (
	berlin = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:DAYLIGHT\r\nDTSTART:19810329T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\n" +
		"BEGIN:STANDARD\r\nDTSTART:19961027T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE"
	office = "BEGIN:VTIMEZONE\r\nTZID:Office\r\nBEGIN:STANDARD\r\nDTSTART:20000101T000000\r\nTZOFFSETFROM:-0330\r\nTZOFFSETTO:-0330\r\nEND:STANDARD\r\nEND:VTIMEZONE"
)

// TestServers: BSP-2.6-1 with real servers.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *davServer{"radicale": startRadicale, "xandikos": startXandikos, "davical": startDAViCal} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testServer(t, start(t))
		})
	}
}

func testServer(t *testing.T, r *davServer) {
	r.do("MKCALENDAR", "work/", "")
	r.do("MKCALENDAR", "empty/", "")
	local := zone(t, "Europe/Berlin")
	today := time.Now().In(local)
	day := func(n, hour int) time.Time {
		return time.Date(today.Year(), today.Month(), today.Day()+n, hour, 0, 0, 0, local)
	}
	wall := func(n, hour int) string { return day(n, hour).Format("20060102T150405") }
	date := func(n int) string { return day(n, 0).Format("20060102") }
	event := func(uid string, lines ...string) string {
		return "BEGIN:VEVENT\r\nDTSTAMP:20260101T000000Z\r\nUID:" + uid + "\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT"
	}
	begin := func(n, hour int) string { return "DTSTART;TZID=Europe/Berlin:" + wall(n, hour) }
	r.put("single", calendar(berlin, event("single", begin(2, 10), "DTEND;TZID=Europe/Berlin:"+wall(2, 11), "SUMMARY:Single", "LOCATION:Room 1")))
	r.put("recurring", calendar(berlin,
		event("recurring", begin(1, 9), "DURATION:PT30M", "RRULE:FREQ=DAILY;COUNT=4", "EXDATE;TZID=Europe/Berlin:"+wall(2, 9), "SUMMARY:Daily"),
		event("recurring", "RECURRENCE-ID;TZID=Europe/Berlin:"+wall(3, 9), begin(3, 14), "DURATION:PT1H", "SUMMARY:Moved")))
	r.put("allday", calendar(event("allday", "DTSTART;VALUE=DATE:"+date(3), "DTEND;VALUE=DATE:"+date(5), "SUMMARY:Fair", "TRANSP:TRANSPARENT")))
	r.put("private", calendar(berlin, event("private", begin(4, 8), "DURATION:PT1H", "CLASS:PRIVATE", "SUMMARY:Doctor")))
	r.put("oof", calendar(berlin, event("oof", begin(5, 8), "DURATION:PT8H", "X-MICROSOFT-CDO-BUSYSTATUS:OOF", "SUMMARY:Away")))
	r.put("tentative", calendar(berlin, event("tentative", begin(6, 8), "DURATION:PT1H", "STATUS:TENTATIVE", "SUMMARY:Perhaps")))
	r.put("zone", calendar(office, event("zone", "DTSTART;TZID=Office:"+date(7)+"T090000", "DURATION:PT1H", "SUMMARY:Elsewhere")))
	r.put("weekly", calendar(berlin, event("weekly", begin(-r.back, 7), "DURATION:PT1H", "RRULE:FREQ=WEEKLY", "SUMMARY:Always at seven")))
	r.put("declined", calendar(berlin, event("declined", begin(1, 8), "DURATION:PT1H", "ORGANIZER:mailto:meg.ryan@example.com", "ATTENDEE;PARTSTAT=DECLINED:mailto:tom.hanks@example.com")))

	cfg := r.config("right password")
	cfg.Failures = 1000 // that the server restarts is part of the test
	m, err := caldav.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	states, done := make(chan []aa.Appointment), make(chan error, 1)
	go func() {
		done <- m.MonitorCalendar(ctx, "tom.hanks@example.com", func(s presence.CalendarState) {
			select {
			case states <- s.Appointments:
			case <-ctx.Done():
			}
		})
	}()
	defer func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}()
	until := func(what string, ok func(map[string]aa.Appointment) bool) map[string]aa.Appointment {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			select {
			case all := <-states:
				byID := make(map[string]aa.Appointment)
				for _, a := range all {
					byID[a.ID] = a
				}
				if ok(byID) {
					return byID
				}
			case err := <-done:
				done <- err
				t.Fatalf("%s: %v", what, err)
			case <-deadline:
				t.Fatal(what)
			}
		}
	}
	id := func(uid string, n, hour int) string {
		return uid + "/" + day(n, hour).UTC().Format("20060102T150405Z")
	}

	all := until("first poll", func(map[string]aa.Appointment) bool { return true })
	weeks := 0
	for key, a := range all {
		if strings.HasPrefix(key, "weekly/") {
			require.Equal(t, 7, a.From.In(local).Hour(), "the same hour in summer and winter")
			require.Equal(t, time.Hour, a.End.Sub(a.From))
			delete(all, key)
			weeks++
		}
	}
	require.InDelta(t, 57, weeks, 1)
	stamp := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := map[string]aa.Appointment{
		"single":              {State: aa.CalendarBusy, Subject: "Single", Location: "Room 1", From: day(2, 10), End: day(2, 11)},
		id("recurring", 1, 9): {State: aa.CalendarBusy, Subject: "Daily", From: day(1, 9), End: day(1, 9).Add(30 * time.Minute)},
		id("recurring", 3, 9): {State: aa.CalendarBusy, Subject: "Moved", From: day(3, 14), End: day(3, 15)},
		id("recurring", 4, 9): {State: aa.CalendarBusy, Subject: "Daily", From: day(4, 9), End: day(4, 9).Add(30 * time.Minute)},
		"allday": {State: aa.CalendarFree, Subject: "Fair", AllDay: true,
			From: time.Date(today.Year(), today.Month(), today.Day()+3, 0, 0, 0, 0, time.UTC), End: time.Date(today.Year(), today.Month(), today.Day()+5, 0, 0, 0, 0, time.UTC)},
		"private":   {State: aa.CalendarBusy, Subject: "Doctor", Private: true, From: day(4, 8), End: day(4, 9)},
		"oof":       {State: aa.CalendarOutOfOffice, Subject: "Away", From: day(5, 8), End: day(5, 16)},
		"tentative": {State: aa.CalendarTentative, Subject: "Perhaps", From: day(6, 8), End: day(6, 9)},
		"zone": {State: aa.CalendarBusy, Subject: "Elsewhere",
			From: time.Date(today.Year(), today.Month(), today.Day()+7, 12, 30, 0, 0, time.UTC), End: time.Date(today.Year(), today.Month(), today.Day()+7, 13, 30, 0, 0, time.UTC)},
	}
	for key, a := range want {
		a.ID, a.From, a.End, a.Timestamp = key, a.From.UTC(), a.End.UTC(), stamp
		want[key] = a
	}
	require.Equal(t, want, all)

	r.put("single", calendar(berlin, event("single", begin(2, 10), "DURATION:PT2H", "SUMMARY:Changed")))
	r.do(http.MethodDelete, "work/oof.ics", "")
	r.put("new", calendar(berlin, event("new", begin(1, 12), "DURATION:PT1H")))
	until("changes", func(all map[string]aa.Appointment) bool {
		_, oof := all["oof"]
		_, added := all["new"]
		return all["single"].Subject == "Changed" && !oof && added
	})

	r.stop()
	r.start()
	r.do(http.MethodDelete, "work/new.ics", "")
	all = until("after a restart", func(all map[string]aa.Appointment) bool {
		_, ok := all["new"]
		return !ok
	})
	require.Equal(t, "Changed", all["single"].Subject)
}

func TestRadicaleRefuses(t *testing.T) {
	r := startRadicale(t)
	m, err := caldav.New(r.config("wrong password"))
	require.NoError(t, err)
	err = m.MonitorCalendar(t.Context(), "tom.hanks@example.com", func(presence.CalendarState) { t.Error("a value without the password") })
	require.ErrorIs(t, err, caldav.ErrUnauthorized)
	require.NotContains(t, err.Error(), "password")

	cfg := r.config("right password")
	cfg.URL += "tom/{user}/"
	m, err = caldav.New(cfg)
	require.NoError(t, err)
	err = m.MonitorCalendar(t.Context(), "nobody@example.com", func(presence.CalendarState) { t.Error("a value without a calendar") })
	require.Error(t, err)
}
