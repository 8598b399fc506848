package calendar_test

import (
	"archive/zip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/calendar"
)

// The names that calendars give to zones, and what they can only mean.
func TestZoneNames(t *testing.T) {
	var zones calendar.Zones
	for name, want := range map[string]string{
		"Europe/Berlin":        "Europe/Berlin",
		"europe/berlin":        "Europe/Berlin",
		"EUROPE/BERLIN":        "Europe/Berlin",
		"america/new_york":     "America/New_York",
		"America/New York":     "America/New_York",
		" \"Europe/Berlin\" ":  "Europe/Berlin",
		"Europe/Berlin 1":      "Europe/Berlin",
		"africa/DAR_ES_SALAAM": "Africa/Dar_es_Salaam",
		"etc/gmt-3":            "Etc/GMT-3",
		"/freeassociation.sourceforge.net/Tzfile/Europe/Berlin":     "Europe/Berlin",
		"/softwarestudio.org/olson_20011030_5/america/indiana/knox": "America/Indiana/Knox",
		"http://tzurl.example/zoneinfo/Asia/Tokyo":                  "Asia/Tokyo",
		"W. Europe Standard Time":                                   "Europe/Berlin",
		"w. europe standard time":                                   "Europe/Berlin",
		"GMT Standard Time 1":                                       "Europe/London",
		"W. Europe Standard Time 12":                                "Europe/Berlin",
		"Russia Time Zone 3":                                        "Europe/Samara",
		"Russia Time Zone 3 2":                                      "Europe/Samara",
		"UTC-11":                                                    "Etc/GMT+11",
		"tzone://Microsoft/Utc":                                     "UTC",
		"TZONE://MICROSOFT/UTC":                                     "UTC",
		"utc":                                                       "Etc/UTC",
		"Coordinated Universal Time":                                "UTC",
		"(UTC) Coordinated Universal Time":                          "Etc/UTC",
		"(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna": "Europe/Berlin",
		"(UTC+01:00) Amsterdam, Berlin, Bern":                          "Europe/Berlin",
		"(UTC+01:00) Amsterdam, Berlin, Bern, Rom, Stockholm, Wien":    "Europe/Berlin",
		"(GMT+01.00) Amsterdam / Berlin / Bern / Rome / Stockholm":     "Europe/Berlin",
		"(GMT-05:00) Eastern Time (US & Canada)":                       "America/New_York",
		"(UTC-05:00) Eastern Time (US &amp; Canada)":                   "America/New_York",
		"(UTC-08:00) pacific time (us & canada)":                       "America/Los_Angeles",
		"(UTC+05:30) Chennai, Kolkata, Mumbai, New Delhi":              "Asia/Kolkata",
		"(UTC+00:00) Dublin, Edinburgh, Lisbon, London":                "Europe/London",
		"(GMT) Greenwich Mean Time: Dublin, Edinburgh, Lisbon, London": "Europe/London",
		"(UTC+10:00) Canberra, Melbourne, Sydney":                      "Australia/Sydney",
		"(UTC-12:00) International Date Line West":                     "Etc/GMT+12",
		"Brussels, Copenhagen, Madrid, Paris":                          "Europe/Paris",
	} {
		l := zones.Find(name)
		require.NotNil(t, l, name)
		require.Equal(t, want, l.String(), name)
	}
	for _, name := range []string{
		"", "Local", "EST", "Head Office", "../../etc/passwd", "/etc/localtime", "UTC+01:00", "Customized Time Zone", "tzone://Microsoft/Custom",
		"(UTC+05:00) Berlin", // not the offset of Berlin
		"1", " 2", "(UTC+99:00) Berlin", "(UTC+01:00 Berlin", strings.Repeat("Europe/", 100) + "Berlin",
	} {
		require.Nil(t, zones.Find(name), name)
	}
}

// Names that could be meant otherwise.
func TestShortZoneNames(t *testing.T) {
	var zones calendar.Zones
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]string{
		"EST": "-05:00", "est": "-05:00", "Cuba": "-04:00", "UTC+01:00": "+01:00", "utc+1": "+01:00", "GMT-0530": "-05:30", "+0200": "+02:00",
		"-03:30": "-03:30", "UTC +2": "+02:00", "(UTC+01:00) Head Office": "+01:00", "GMT+10": "+10:00",
	} {
		l := zones.FindShort(name)
		require.NotNil(t, l, name)
		require.Equal(t, want, at.In(l).Format("-07:00"), name)
	}
	for _, name := range []string{"", "Head Office", "UTC+", "UTC+1 Office", "+1:2:3:4", "UTC+15", "GMT+0199", "local", "LOCAL", "12:00"} {
		require.Nil(t, zones.FindShort(name), name)
	}
}

// Each name of the tz database is found in any letter case.
func TestLetterCase(t *testing.T) {
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	z, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Skip("this Go has no copy of the tz database: ", err)
	}
	defer z.Close()
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") || !strings.Contains(f.Name, "/") {
			continue
		}
		var zones calendar.Zones
		for _, name := range []string{strings.ToLower(f.Name), strings.ToUpper(f.Name)} {
			l := zones.Find(name)
			require.NotNil(t, l, name)
			require.Equal(t, f.Name, l.String())
		}
	}
}

// Each place of the table is in a zone that exists.
func TestPlaces(t *testing.T) {
	for row := range strings.Lines(strings.TrimSpace(calendar.Places)) {
		_, name, _ := strings.Cut(strings.TrimSpace(row), "\t")
		_, err := time.LoadLocation(name)
		require.NoError(t, err)
	}
}

func FuzzZones(f *testing.F) {
	for _, name := range []string{"(UTC+01:00) Berlin", "UTC+1", "/x/y/Europe/Berlin", "GMT Standard Time 1", "é 1", "(", "+"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		var zones calendar.Zones
		require.Equal(t, zones.Find(name), zones.Find(name))
		require.Equal(t, zones.FindShort(name), zones.FindShort(name))
	})
}
