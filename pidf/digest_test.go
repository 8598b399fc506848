package pidf_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
)

// A digest tells documents apart by what they say, and not by when it changed.
func TestDigest(t *testing.T) {
	doc := func(note string, at time.Time) *pidf.Presence {
		return &pidf.Presence{Entity: "sip:tom@example.com", Tuples: []pidf.Tuple{{ID: "a", Basic: pidf.Open, Timestamp: at}}, Notes: []pidf.Note{{Text: note}}}
	}
	one := pidf.Digest(doc("in", time.Unix(1, 0)))
	require.NotZero(t, one)
	require.Equal(t, one, pidf.Digest(doc("in", time.Unix(2, 0))))
	require.NotEqual(t, one, pidf.Digest(doc("out", time.Unix(1, 0))))
	require.Equal(t, uint64(0x1), one&1)
}
