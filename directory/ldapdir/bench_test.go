package ldapdir_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
)

// manyUsers is a directory of 100,000 users and lists of a hundred of them.
func manyUsers(b *testing.B) (ldapdir.Config, func(i int) []directory.Address) {
	r := rigs.Get(b, "slapd", "--users", "100000", "--log-level", "0")
	cfg := slapdConfig(b, r)
	cfg.SIPAttributes = []string{"sipAddress"}
	return cfg, func(i int) []directory.Address {
		as := make([]directory.Address, 100)
		for j := range as {
			as[j] = directory.Address{Scheme: directory.SchemeSIP, Value: fmt.Sprintf("user%06d@example.test", (i*100+j*997)%99_000)}
		}
		return as
	}
}

func requireAll(b *testing.B, results []directory.Result) {
	for _, r := range results {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}

// A list of a hundred users of 100,000, none of which is known yet: at most
// 100 ms and 5 searches.
func BenchmarkColdList(b *testing.B) {
	cfg, list := manyUsers(b)
	cfg.Lifetime = -1
	d := open(b, cfg)
	require.NoError(b, d.Ready(b.Context()))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		requireAll(b, d.LookupAll(b.Context(), list(i)))
		i++
	}
	b.ReportMetric(float64(d.Stats().Searches)/float64(i), "searches/op")
}

// The same, connecting first.
func BenchmarkColdStart(b *testing.B) {
	cfg, list := manyUsers(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d, err := ldapdir.New(cfg)
		require.NoError(b, err)
		requireAll(b, d.LookupAll(b.Context(), list(i)))
		require.NoError(b, d.Close(b.Context()))
		i++
	}
}

// A list whose users are all known: at most 1 ms.
func BenchmarkCachedList(b *testing.B) {
	cfg, list := manyUsers(b)
	d := open(b, cfg)
	as := list(0)
	requireAll(b, d.LookupAll(b.Context(), as))
	b.ReportAllocs()
	for b.Loop() {
		requireAll(b, d.LookupAll(b.Context(), as))
	}
}

func BenchmarkColdOne(b *testing.B) {
	cfg, list := manyUsers(b)
	cfg.Lifetime = -1
	d := open(b, cfg)
	as := list(0)
	b.ReportAllocs()
	for b.Loop() {
		_, err := d.Lookup(b.Context(), as[0])
		require.NoError(b, err)
	}
}

func BenchmarkADSignIn(b *testing.B) {
	r := adRig(b)
	v := adVerifier(b, r, nil)
	c := credentials(b, `CORP\alice`, r["USER_PW"])
	b.ReportAllocs()
	for b.Loop() {
		_, err := v.Verify(b.Context(), c)
		require.NoError(b, err)
	}
}
