package logqueue_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/logqueue"
)

// BSX-10: of what repeats, the first has a line, and the rest a count; many sources fill no log.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := &logqueue.Repeats{Logger: slog.New(slog.NewTextHandler(&log, nil)), Message: "again"}
		require.True(t, r.First("192.0.2.1", "503"))
		for range 10 {
			require.False(t, r.First("192.0.2.1", "503"))
		}
		require.True(t, r.First("192.0.2.1", "500"))
		lines := 0
		for i := range 1000 {
			if r.First(fmt.Sprint("source ", i), "503") {
				lines++
			}
		}
		require.Equal(t, 99, lines, "the others are one")
		require.Empty(t, log.String())
		time.Sleep(time.Minute)
		require.True(t, r.First("192.0.2.1", "503"))
		require.Contains(t, log.String(), "msg=again times=10 source=192.0.2.1 reason=503")
		require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
	})
}
