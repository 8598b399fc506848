package pidf_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
)

// A digest tells documents apart by what they say, and not by when it changed.
func TestDigest(t *testing.T) {
	digest := func(note string, at time.Time, d pidf.Dialect) uint64 {
		doc := pidf.Presence{
			Entity: "sip:tom@example.com", Tuples: []pidf.Tuple{{ID: "a", Basic: pidf.Open, Timestamp: at}},
			Persons: []pidf.Person{{ID: "p", Class: "c", Timestamp: at}}, Notes: []pidf.Note{{Text: note}},
		}
		return pidf.Digest(doc.Append(nil, d))
	}
	for _, d := range []pidf.Dialect{pidf.BluStarDialect, pidf.StandardDialect} {
		one := digest("in", time.Unix(1, 0), d)
		require.NotZero(t, one)
		require.Equal(t, one, digest("in", time.Unix(2, 1e6), d))
		require.Equal(t, one, digest("in", time.Time{}, d))
		require.NotEqual(t, one, digest("out", time.Unix(1, 0), d))
		require.NotEqual(t, digest("<timestamp>1", time.Unix(1, 0), d), digest("<timestamp>2", time.Unix(1, 0), d))
	}
	for _, pair := range [][2]string{{"<timestamp>1</timestamp>x", "<timestamp>22</timestamp>x"}, {"<a:timestamp>1</a:timestamp>", ""}} {
		require.Equal(t, pidf.Digest([]byte(pair[0])), pidf.Digest([]byte(pair[1])))
	}
	for _, pair := range [][2]string{
		{"<timestamp>1</timestamp>x", "<timestamp>1</timestamp>y"}, {"<a-timestamp>1<", "<a-timestamp>2<"},
		{"timestamp>1<", "timestamp>2<"}, {"<timestamp>1", "<timestamp>2"}, {"", "x"},
	} {
		require.NotEqual(t, pidf.Digest([]byte(pair[0])), pidf.Digest([]byte(pair[1])), pair)
	}
}
