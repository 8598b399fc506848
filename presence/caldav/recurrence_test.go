package caldav_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/caldav"
)

func TestRecurrence(t *testing.T) {
	const start = "DTSTART;TZID=Europe/Berlin:"
	tests := []struct {
		name  string
		lines []string
		want  []string
	}{
		{"weekly for years, across the change", []string{start + "20010102T100000", "RRULE:FREQ=WEEKLY;BYDAY=TU"},
			[]string{"2026-03-17T09:00", "2026-03-24T09:00", "2026-03-31T08:00", "2026-04-07T08:00"}},
		{"every other week keeps its beat", []string{start + "20260106T100000", "RRULE:FREQ=WEEKLY;INTERVAL=2"},
			[]string{"2026-03-17T09:00", "2026-03-31T08:00"}},
		{"week starts", []string{start + "20260315T100000", "RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU"},
			[]string{"2026-03-15T09:00", "2026-03-17T09:00", "2026-03-29T08:00", "2026-03-31T08:00"}},
		{"last Friday of the month", []string{start + "20250131T100000", "RRULE:FREQ=MONTHLY;BYDAY=-1FR"}, []string{"2026-03-27T09:00"}},
		{"31st", []string{start + "20251231T100000", "RRULE:FREQ=MONTHLY"}, []string{"2026-03-31T08:00"}},
		{"last workday", []string{start + "20251231T100000", "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"}, []string{"2026-03-31T08:00"}},
		{"yearly", []string{start + "19700401T100000", "RRULE:FREQ=YEARLY"}, []string{"2026-04-01T08:00"}},
		{"leap day", []string{start + "20240229T100000", "RRULE:FREQ=YEARLY"}, []string{}},
		{"until in UTC", []string{start + "20260316T100000", "RRULE:FREQ=DAILY;UNTIL=20260318T090000Z"},
			[]string{"2026-03-16T09:00", "2026-03-17T09:00", "2026-03-18T09:00"}},
		{"until a local time", []string{start + "20260316T100000", "RRULE:FREQ=DAILY;UNTIL=20260317T100000"},
			[]string{"2026-03-16T09:00", "2026-03-17T09:00"}},
		{"until a date", []string{start + "20260316T100000", "RRULE:FREQ=DAILY;UNTIL=20260317"},
			[]string{"2026-03-16T09:00", "2026-03-17T09:00"}},
		{"over long ago", []string{start + "20200316T100000", "RRULE:FREQ=DAILY;UNTIL=20210101T000000Z"}, []string{}},
		{"not begun", []string{start + "20270316T100000", "RRULE:FREQ=DAILY"}, []string{}},
		{"count", []string{start + "20260313T100000", "RRULE:FREQ=DAILY;COUNT=4"}, []string{"2026-03-15T09:00", "2026-03-16T09:00"}},
		{"lower case and a semicolon", []string{start + "20260316T100000", "RRULE:freq=daily;count=1;"}, []string{"2026-03-16T09:00"}},
		{"whole days", []string{"DTSTART;VALUE=DATE:20260328", "RRULE:FREQ=DAILY;UNTIL=20260330"},
			[]string{"2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00"}},
		{"start out of step", []string{start + "20260316T100000", "RRULE:FREQ=WEEKLY;BYDAY=TU;UNTIL=20260325T000000Z"},
			[]string{"2026-03-16T09:00", "2026-03-17T09:00", "2026-03-24T09:00"}},
		{"exception in another zone", []string{start + "20260316T100000", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20260317T090000Z"},
			[]string{"2026-03-16T09:00", "2026-03-18T09:00"}},
		{"exception by date", []string{start + "20260316T100000", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE;VALUE=DATE:20260316,20260318"},
			[]string{"2026-03-17T09:00"}},
		{"further dates", []string{start + "20260316T100000", "RDATE;TZID=Europe/Berlin:20260320T100000,20260316T100000"},
			[]string{"2026-03-16T09:00", "2026-03-20T09:00"}},
		{"two rules", []string{start + "20260316T100000", "RRULE:FREQ=DAILY;COUNT=2", "RRULE:FREQ=WEEKLY;COUNT=2"},
			[]string{"2026-03-16T09:00", "2026-03-17T09:00", "2026-03-23T09:00"}},
		{"three times a day", []string{start + "20260316T080000", "RRULE:FREQ=DAILY;BYHOUR=8,12;BYMINUTE=0,30;COUNT=3"},
			[]string{"2026-03-16T07:00", "2026-03-16T07:30", "2026-03-16T11:00"}},
		{"minutes, since long ago", []string{start + "19700105T090000", "RRULE:FREQ=MINUTELY;INTERVAL=15;BYHOUR=9;BYMINUTE=0;BYDAY=MO"},
			[]string{"2026-03-16T08:00", "2026-03-23T08:00", "2026-03-30T07:00", "2026-04-06T07:00"}},
		{"every 84 hours, since long ago", []string{start + "19990101T080000", "RRULE:FREQ=HOURLY;INTERVAL=84;BYDAY=FR"},
			[]string{"2026-03-20T07:00", "2026-03-27T07:00", "2026-04-03T06:00", "2026-04-10T06:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := march(t).Appointments(t.Context(), vevent(append(tt.lines, "DURATION:P0DT1H0M0S")...))
			require.NoError(t, err)
			got := []string{}
			for _, a := range sorted(found) {
				got = append(got, a.From.Format("2006-01-02T15:04"))
			}
			if strings.Contains(tt.lines[0], "VALUE=DATE") {
				require.True(t, found[0].AllDay)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// TestWithinADay holds the rules that repeat within a day against RFC 5545
// §3.8.5.3 and its notes on §3.3.10.
func TestWithinADay(t *testing.T) {
	tests := []struct {
		name, rule string
		want       []string
	}{
		{"every three hours", "FREQ=HOURLY;INTERVAL=3;UNTIL=20260316T170000", []string{"16 09:00", "16 12:00", "16 15:00"}},
		{"hours that add minutes", "FREQ=HOURLY;BYMINUTE=0,30;COUNT=3", []string{"16 09:00", "16 09:30", "16 10:00"}},
		{"every 15 minutes for 6", "FREQ=MINUTELY;INTERVAL=15;COUNT=6", []string{"16 09:00", "16 09:15", "16 09:30", "16 09:45", "16 10:00", "16 10:15"}},
		{"every 90 minutes", "FREQ=MINUTELY;INTERVAL=90;COUNT=4", []string{"16 09:00", "16 10:30", "16 12:00", "16 13:30"}},
		{"every 20 minutes in hours", "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,16;COUNT=5", []string{"16 09:00", "16 09:20", "16 09:40", "16 16:00", "16 16:20"}},
		{"on days", "FREQ=HOURLY;INTERVAL=12;BYDAY=WE;COUNT=3", []string{"16 09:00", "18 09:00", "18 21:00", "25 09:00"}},
		{"last day of the month", "FREQ=HOURLY;INTERVAL=24;BYMONTHDAY=-1;COUNT=1", []string{"16 09:00", "31 09:00"}},
		{"seconds", "FREQ=SECONDLY;INTERVAL=1800;COUNT=3", []string{"16 09:00", "16 09:30", "16 10:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			view := march(t)
			view.Location = time.UTC
			found, err := view.Appointments(t.Context(), vevent("DTSTART:20260316T090000", "DURATION:PT5M", "RRULE:"+tt.rule))
			require.NoError(t, err)
			got := []string{}
			for _, a := range sorted(found) {
				got = append(got, a.From.Format("02 15:04"))
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestOverrides(t *testing.T) {
	master := "BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260316T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\nSUMMARY:plan\r\nEND:VEVENT"
	other := func(lines string) string { return "BEGIN:VEVENT\r\nUID:1\r\n" + lines + "\r\nEND:VEVENT" }
	subjects := func(data []byte) []string {
		found, err := march(t).Appointments(t.Context(), data)
		require.NoError(t, err)
		var got []string
		for _, a := range sorted(found) {
			got = append(got, a.ID+" "+a.From.Format("02 15:04")+" "+a.Subject)
		}
		return got
	}
	t.Run("moved, written in another zone", func(t *testing.T) {
		require.Equal(t, []string{"1/20260316T090000Z 16 09:00 plan", "1/20260318T090000Z 18 09:00 plan", "1/20260317T090000Z 20 09:00 moved"},
			subjects(calendar(other("RECURRENCE-ID;TZID=Europe/Berlin:20260317T100000\r\nDTSTART:20260320T090000Z\r\nDURATION:PT1H\r\nSUMMARY:moved"), master)))
	})
	t.Run("the latest version", func(t *testing.T) {
		require.Equal(t, []string{"1/20260316T090000Z 16 09:00 plan", "1/20260317T090000Z 17 10:00 second", "1/20260318T090000Z 18 09:00 plan"},
			subjects(calendar(
				other("RECURRENCE-ID:20260317T090000Z\r\nSEQUENCE:2\r\nDTSTART:20260317T100000Z\r\nDURATION:PT1H\r\nSUMMARY:second"),
				other("RECURRENCE-ID:20260317T090000Z\r\nSEQUENCE:1\r\nDTSTART:20260317T110000Z\r\nDURATION:PT1H\r\nSUMMARY:first"), master)))
	})
	t.Run("without a master: invited to one occurrence", func(t *testing.T) {
		require.Equal(t, []string{"1/20260317T090000Z 17 10:00 alone"},
			subjects(calendar(other("RECURRENCE-ID:20260317T090000Z\r\nDTSTART:20260317T100000Z\r\nDURATION:PT1H\r\nSUMMARY:alone"))))
	})
	t.Run("named by the day", func(t *testing.T) {
		require.Equal(t, []string{"1/20260316T090000Z 16 09:00 plan", "1/20260318T090000Z 18 09:00 plan", "1/20260317T090000Z 20 09:00 moved"},
			subjects(calendar(master, other("RECURRENCE-ID;VALUE=DATE:20260317\r\nDTSTART:20260320T090000Z\r\nDURATION:PT1H\r\nSUMMARY:moved"))))
	})
	// RFC 5545 §3.2.13
	t.Run("this and future", func(t *testing.T) {
		require.Equal(t, []string{"1/20260316T090000Z 16 09:00 plan", "1/20260317T090000Z 17 14:30 later", "1/20260318T090000Z 18 14:30 later"},
			subjects(calendar(master, other("RECURRENCE-ID;RANGE=THISANDFUTURE:20260317T090000Z\r\nDTSTART:20260317T143000Z\r\nDURATION:PT2H\r\nSUMMARY:later"))))
	})
	t.Run("this and future, twice, with an exception", func(t *testing.T) {
		long := strings.Replace(master, "COUNT=3", "COUNT=5", 1)
		require.Equal(t, []string{
			"1/20260316T090000Z 16 09:00 plan", "1/20260317T090000Z 17 10:00 first", "1/20260319T090000Z 19 11:00 second",
			"1/20260318T090000Z 19 12:00 alone", "1/20260320T090000Z 20 11:00 second",
		}, subjects(calendar(
			other("RECURRENCE-ID;RANGE=THISANDFUTURE:20260319T090000Z\r\nDTSTART:20260319T110000Z\r\nDURATION:PT1H\r\nSUMMARY:second"),
			other("RECURRENCE-ID;RANGE=THISANDFUTURE:20260317T090000Z\r\nDTSTART:20260317T100000Z\r\nDURATION:PT1H\r\nSUMMARY:first"),
			other("RECURRENCE-ID:20260318T090000Z\r\nDTSTART:20260319T120000Z\r\nDURATION:PT1H\r\nSUMMARY:alone"), long)))
	})
	t.Run("this and future canceled", func(t *testing.T) {
		require.Equal(t, []string{"1/20260316T090000Z 16 09:00 plan"},
			subjects(calendar(master, other("RECURRENCE-ID;RANGE=THISANDFUTURE:20260317T090000Z\r\nDTSTART:20260317T090000Z\r\nDURATION:PT1H\r\nSTATUS:CANCELLED"))))
	})
	t.Run("this and future, on the clock of its zone", func(t *testing.T) {
		weekly := "BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20260317T100000\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;COUNT=3\r\nSUMMARY:plan\r\nEND:VEVENT"
		require.Equal(t, []string{"1/20260317T090000Z 17 09:00 plan", "1/20260324T090000Z 24 13:00 later", "1/20260331T080000Z 31 12:00 later"},
			subjects(calendar(weekly, other("RECURRENCE-ID;RANGE=THISANDFUTURE:20260324T090000Z\r\nDTSTART;TZID=Europe/Berlin:20260324T140000\r\nDURATION:PT1H\r\nSUMMARY:later"))))
	})
	t.Run("this and future, moved into view", func(t *testing.T) {
		old := "BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260101T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;COUNT=3\r\nSUMMARY:plan\r\nEND:VEVENT"
		require.Equal(t, []string{"1/20260102T090000Z 20 09:00 late", "1/20260103T090000Z 21 09:00 late"},
			subjects(calendar(old, other("RECURRENCE-ID;RANGE=THISANDFUTURE:20260102T090000Z\r\nDTSTART:20260320T090000Z\r\nDURATION:PT1H\r\nSUMMARY:late"))))
	})
	t.Run("declined", func(t *testing.T) {
		require.Equal(t, []string{"1/20260316T090000Z 16 09:00 plan", "1/20260318T090000Z 18 09:00 plan"},
			subjects(calendar(master, other("RECURRENCE-ID:20260317T090000Z\r\nDTSTART:20260317T090000Z\r\nDURATION:PT1H\r\nATTENDEE;PARTSTAT=DECLINED:mailto:tom.hanks@example.com"))))
	})
}

// TestHostile: BSX-4, nothing is unbounded.
func TestHostile(t *testing.T) {
	rules := []string{
		"FREQ=SECONDLY", "FREQ=SECONDLY;COUNT=2000000000", "FREQ=MINUTELY", "FREQ=MINUTELY;COUNT=2000000000", "FREQ=HOURLY;COUNT=999999999",
		"FREQ=DAILY;COUNT=2000000000", "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11;BYMINUTE=0,1,2,3,4,5,6,7,8;BYSECOND=1",
		// No time ever matches.
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=WEEKLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=YEARLY;BYDAY=MO;BYSETPOS=366",
		// These make rrule-go run for ever, or index out of its tables.
		"FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7", "FREQ=SECONDLY;INTERVAL=60;BYSECOND=7",
		"FREQ=MONTHLY;BYDAY=53MO", "FREQ=MONTHLY;BYDAY=-53MO", "FREQ=YEARLY;BYMONTH=12;BYDAY=53MO", "FREQ=YEARLY;BYEASTER=400",
		"FREQ=DAILY;INTERVAL=9223372036854775807", "FREQ=WEEKLY;INTERVAL=1317624576693539402", "FREQ=DAILY;INTERVAL=-1",
		"FREQ=DAILY;COUNT=-1", "FREQ=DAILY;BYHOUR=" + strings.Repeat("1,", 20000) + "1",
		"FREQ=YEARLY;BYYEARDAY=" + numbers(366) + ";BYHOUR=" + numbers(23) + ";BYMINUTE=" + numbers(59),
		"FREQ=DAILY;DTSTART=00010101T000000Z",
	}
	for _, rule := range rules {
		for _, start := range []string{"20260316T090000Z", "00010101T000000Z", "19700101T000000Z", "99981231T235959Z"} {
			t.Run(rule[:min(len(rule), 50)]+" from "+start, func(t *testing.T) {
				began := time.Now()
				found, _ := march(t).Appointments(t.Context(), vevent("DTSTART:"+start, "DURATION:PT1S", "RRULE:"+rule))
				require.LessOrEqual(t, len(found), 1000)
				require.Less(t, time.Since(began), time.Minute) // some ms; without a bound it is for ever
			})
		}
	}
	t.Run("many rules without a match", func(t *testing.T) {
		var events []string
		for i := range 5000 {
			events = append(events, fmt.Sprintf("BEGIN:VEVENT\r\nUID:%d\r\nDTSTART:20260316T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\r\nEND:VEVENT", i))
		}
		found, err := march(t).Appointments(t.Context(), calendar(events...))
		require.ErrorIs(t, err, caldav.ErrLimit)
		require.Len(t, found, 1000)
	})
	t.Run("nested", func(t *testing.T) {
		_, err := march(t).Appointments(t.Context(), calendar(strings.Repeat("BEGIN:VEVENT\r\n", 10000)))
		require.ErrorIs(t, err, caldav.ErrLimit)
	})
	t.Run("large", func(t *testing.T) {
		_, err := march(t).Appointments(t.Context(), vevent("DESCRIPTION:"+strings.Repeat("x", 1<<20)))
		require.ErrorIs(t, err, caldav.ErrLimit)
	})
	t.Run("long parameter", func(t *testing.T) {
		began := time.Now()
		found, err := march(t).Appointments(t.Context(), vevent("DTSTART:20260316T090000Z", "DURATION:PT1H", "ATTENDEE;CN="+strings.Repeat("x", 900_000)+":mailto:x"))
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Less(t, time.Since(began), time.Minute)
	})
	t.Run("many dates", func(t *testing.T) {
		dates := strings.TrimSuffix(strings.Repeat("20260316T090000Z,", 3000), ",")
		lines := []string{"DTSTART:20260316T090000Z", "DURATION:PT1H"}
		for range 15 {
			lines = append(lines, "EXDATE:"+dates)
		}
		_, err := march(t).Appointments(t.Context(), vevent(lines...))
		require.ErrorIs(t, err, caldav.ErrLimit)
	})
	t.Run("many dates that a rule passes", func(t *testing.T) {
		lines := []string{"DTSTART;TZID=Europe/Berlin:20260316T090000", "RRULE:FREQ=SECONDLY"}
		for day := range 3 {
			var dates []string
			for i := range 3000 {
				dates = append(dates, fmt.Sprintf("202601%02dT%02d%02d00", day+1, i/60%24, i%60))
			}
			lines = append(lines, "EXDATE;TZID=Europe/Berlin:"+strings.Join(dates, ","))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // it is minutes where each second meets each date
		defer cancel()
		_, err := march(t).Appointments(ctx, vevent(lines...))
		require.ErrorIs(t, err, caldav.ErrLimit)
	})
	t.Run("zone definition", func(t *testing.T) {
		for _, rule := range []string{"FREQ=SECONDLY", "FREQ=DAILY", "FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"} {
			found, _ := march(t).Appointments(t.Context(), calendar(
				"BEGIN:VTIMEZONE\r\nTZID:evil\r\nBEGIN:STANDARD\r\nDTSTART:16010101T000000\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+0100\r\nRRULE:"+rule+"\r\nEND:STANDARD\r\nEND:VTIMEZONE",
				"BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=evil:20260316T090000\r\nDURATION:PT1H\r\nEND:VEVENT"))
			require.Len(t, found, 1, rule)
		}
	})
}

// numbers lists 1 to n.
func numbers(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(i+1))
	}
	return strings.Join(all, ",")
}
