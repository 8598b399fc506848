package subscriber_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/subscriber"
)

// RFC 6665 §8.2.3.
func TestSubscriptionState(t *testing.T) {
	for value, want := range map[string]subscriber.SubscriptionState{
		"active;expires=300":                        {State: subscriber.Active, Expires: 5 * time.Minute},
		"Pending ; Expires = 99999999999":           {State: subscriber.Pending, Expires: subscriber.MaxExpires},
		`terminated;reason="Rejected"`:              {State: subscriber.Terminated, Reason: "rejected"},
		"terminated;reason=giveup;retry-after=7200": {State: subscriber.Terminated, Reason: "giveup", RetryAfter: time.Hour},
		"lively;expires=soon":                       {State: "lively"},
	} {
		got, ok := subscriber.ParseSubscriptionState(value)
		require.True(t, ok)
		require.Equal(t, want, got)
		require.Equal(t, want.Reason == "rejected", subscriber.Final(got.Reason))
	}
	_, ok := subscriber.ParseSubscriptionState(" ;expires=3")
	require.False(t, ok)
}

func TestRefreshAfter(t *testing.T) {
	for range 100 {
		d := subscriber.RefreshAfter(100 * time.Second)
		require.True(t, d >= 70*time.Second && d <= 80*time.Second, "%v", d)
	}
	require.Equal(t, time.Second, subscriber.RefreshAfter(0))
	require.Equal(t, time.Second, subscriber.RefreshAfter(-time.Hour), "what has expired")
}

// FuzzSubscriptionState holds the field to the bounds of what it can make us do.
func FuzzSubscriptionState(f *testing.F) {
	for _, s := range []string{
		"active;expires=300", "pending", `terminated;reason="deactivated";retry-after=5`, "terminated;retry-after=99999999999",
		"ACTIVE ; expires = 1", ";;=", "terminated;reason=\"\\",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s, ok := subscriber.ParseSubscriptionState(value)
		require.Equal(t, s.State != "", ok)
		require.Equal(t, strings.ToLower(s.State), s.State)
		require.LessOrEqual(t, len(s.Reason), 64)
		require.True(t, s.Expires >= 0 && s.Expires <= subscriber.MaxExpires)
		require.True(t, s.RetryAfter >= 0 && s.RetryAfter <= time.Hour)
	})
}
