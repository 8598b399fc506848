package xsd_test

import (
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf/internal/xsd"
	"github.com/stretchr/testify/require"
)

// BSP-3-4: what is an xs:dateTime, and what of it a time.Time can hold.
func TestDateTime(t *testing.T) {
	for text, want := range map[string]string{
		"2005-05-30T16:14:29Z":       "2005-05-30T16:14:29Z",
		"2005-05-30T16:14:29.5Z":     "2005-05-30T16:14:29Z",
		"2005-05-30T16:14:29+14:00":  "2005-05-30T02:14:29Z",
		"2005-05-30T24:00:00Z":       "2005-05-31T00:00:00Z",
		"2004-02-29T00:00:00":        "2004-02-29T00:00:00Z",
		"12345-03-15T00:00:00Z":      "valid",
		"-0044-03-15T00:00:00Z":      "valid",
		"0001-01-01T00:00:00Z":       "valid",
		"23:59:60Z":                  "",
		"2005-12-31T23:59:60Z":       "",
		"2005-12-31T24:00:00.5Z":     "",
		"2005-05-30T16:14:29+14:30":  "",
		"2005-02-29T00:00:00Z":       "",
		"0000-01-01T00:00:00Z":       "",
		"2005-05-30T16:14:29.Z":      "",
		"2005-05-30 16:14:29Z":       "",
		"2005-05-30T16:14:29+01:00x": "",
		"":                           "",
	} {
		require.Equal(t, want != "", xsd.IsDateTime(text), text)
		got, canonical, zone, ok := xsd.ParseTime(text)
		require.Equal(t, want != "" && want != "valid", ok, text)
		if ok {
			require.Equal(t, want, string(xsd.AppendTime(nil, got)), text)
			require.Equal(t, text == want, canonical, text)
			require.Equal(t, text != "2004-02-29T00:00:00", zone, text)
			require.Equal(t, time.UTC, got.Location())
		}
	}
}
