package auth_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// What every request of a signed-in client costs.
func BenchmarkCheckSession(b *testing.B) {
	f := newFixture(b, nil)
	r := f.request("tom")
	require.Equal(b, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f.Guard.Check(b.Context(), r).Verdict != auth.Accept {
				b.Fatal("no session")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			ctx := b.Context()
			for pb.Next() {
				if f.Guard.Check(ctx, r).Verdict != auth.Accept {
					b.Error("no session")
				}
			}
		})
	})
}

func BenchmarkCheckSessionProof(b *testing.B) {
	f := newFixture(b, nil)
	r := f.request("tom")
	r = f.answer(r, f.Check(r), `DE\tom`, "secret")
	b.ReportAllocs()
	for b.Loop() {
		if f.Guard.Check(b.Context(), r).Verdict != auth.Accept {
			b.Fatal("no session")
		}
	}
}

func BenchmarkCheckChallenge(b *testing.B) {
	f := newFixture(b, nil)
	r := f.request("tom")
	b.ReportAllocs()
	for b.Loop() {
		f.Guard.Check(b.Context(), r)
	}
}

// A whole sign-in, the verifier apart.
func BenchmarkSignIn(b *testing.B) {
	f := newFixture(b, nil)
	r := f.request("tom")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Client = fmt.Sprint(i)
		if f.Check(f.answer(r, f.Check(r), `DE\tom`, "secret")).Verdict != auth.Accept {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCheckDigest(b *testing.B) {
	f, r := newDigest(b, nil)
	c := challenges(b, f.Check(r))[0]
	var answers []auth.Request
	for i := range 1000 {
		answers = append(answers, respond(b, r, c, `DE\tom`, "secret", i+1))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.Guard.Check(b.Context(), answers[i%len(answers)]) // later rounds are replays: the same work
	}
}

func BenchmarkDecrypt(b *testing.B) {
	c, err := auth.NewCredentials(`example\alice`, []byte("secret"))
	require.NoError(b, err)
	for name, cipher := range ciphers {
		rauth, err := c.Encrypt(cipher, digits)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := auth.DecryptCredentials(cipher, digits, rauth); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A wrong password of an account that exists, and of one that does not.
func BenchmarkVerify(b *testing.B) {
	accounts, err := auth.NewLocalAccounts([]auth.Account{{Account: "tom", PasswordHash: hashOfCost(b, 4)}})
	require.NoError(b, err)
	for _, name := range []string{"tom", "nobody"} {
		c, err := auth.NewCredentials(name, []byte("wrong"))
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = accounts.Verify(b.Context(), c)
			}
		})
	}
}
