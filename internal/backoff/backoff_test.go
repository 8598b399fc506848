package backoff_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/backoff"
)

// The pauses double up to the longest, of which none is longer, and start anew
// after a success.
func TestBackoff(t *testing.T) {
	for name, test := range map[string]struct {
		b    backoff.Backoff
		want []time.Duration
	}{
		"zero value":         {backoff.Backoff{}, []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}},
		"of its own":         {backoff.Backoff{First: 2 * time.Second, Max: 10 * time.Second}, []time.Duration{2, 4, 8, 10, 10}},
		"first above max":    {backoff.Backoff{First: time.Hour, Max: time.Second}, []time.Duration{1, 1}},
		"longer than a year": {backoff.Backoff{First: math.MaxInt64 / 4, Max: math.MaxInt64}, []time.Duration{math.MaxInt64 / 4 / time.Second, math.MaxInt64 / 2 / time.Second, math.MaxInt64 / time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				for i, want := range test.want {
					want *= time.Second
					got := test.b.Next()
					require.InDelta(t, want-want/8, got, float64(want/8+time.Second), "failure %d", i)
					require.Equal(t, i+1, test.b.Failures())
				}
				test.b.Reset()
				require.Zero(t, test.b.Failures())
			}
			for range 10_000 {
				require.Positive(t, test.b.Next())
			}
		})
	}
}

// What is spread is so, and stays within its bounds.
func TestSpread(t *testing.T) {
	for name, test := range map[string]struct {
		f           func(time.Duration) time.Duration
		d           time.Duration
		least, most time.Duration
	}{
		"Spread":         {backoff.Spread, 8 * time.Second, 6 * time.Second, 10 * time.Second},
		"Spread of none": {backoff.Spread, 0, 0, 0},
		"Beyond":         {backoff.Beyond, 20 * time.Second, 20 * time.Second, 23 * time.Second},
		"Beyond nothing": {backoff.Beyond, 0, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			low, high := time.Duration(math.MaxInt64), time.Duration(0)
			for range 1000 {
				d := test.f(test.d)
				low, high = min(low, d), max(high, d)
			}
			require.GreaterOrEqual(t, low, test.least)
			require.LessOrEqual(t, high, test.most)
			require.GreaterOrEqual(t, high-low, (test.most-test.least)*8/10)
		})
	}
}

// RFC 9110 §10.2.3 and §5.6.7, RFC 3261 §20.33.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                                0,
		"0":                               0,
		"120":                             2 * time.Minute,
		" 120 ":                           2 * time.Minute,
		"-5":                              0,
		"3.7":                             3 * time.Second,
		"18000;duration=3600":             5 * time.Hour,
		"120 (I'm in a meeting)":          2 * time.Minute,
		"86401":                           24 * time.Hour,
		"99999999999999999999999":         24 * time.Hour,
		"Sun, 01 Mar 2026 12:00:30 GMT":   30 * time.Second,
		"Sunday, 01-Mar-26 12:00:30 GMT":  30 * time.Second,
		"Sun Mar  1 12:00:30 2026":        30 * time.Second,
		"Sun, 01 Mar 2026 11:59:00 GMT":   0,
		"Fri, 01 Mar 2030 12:00:00 GMT":   24 * time.Hour,
		"Sun, 01 Mar 2026 12:00:30 +0100": 0,
		"soon":                            0,
	} {
		require.Equal(t, want, backoff.RetryAfter(value, now), "%q", value)
	}
}

func TestFormatRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0", 0: "0", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Hour: "3600", math.MaxInt64: "86400",
	} {
		require.Equal(t, want, backoff.FormatRetryAfter(d))
	}
}

// A sleep ends with its context.
func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, backoff.Sleep(t.Context(), time.Hour))
		require.Equal(t, time.Hour, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, backoff.Sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.Equal(t, time.Hour+time.Minute, time.Since(start))
		require.ErrorIs(t, backoff.Sleep(ctx, 0), context.DeadlineExceeded)
		require.NoError(t, backoff.Sleep(t.Context(), -1))
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "120", "120 (later)", "99999999999999999999", "Sun, 01 Mar 2026 12:00:30 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		d := backoff.RetryAfter(value, time.Unix(0, 0))
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, backoff.MaxRetryAfter)
	})
}
