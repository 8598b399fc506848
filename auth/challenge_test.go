package auth_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// BSP-2.10-3: 56 digits, new for every client and every 401, as long as a client does not
// ask for more than three within 32 s.
func TestChallengeKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		form := regexp.MustCompile(`^[0-9]{56}$`)
		seen := make(map[string]bool)
		digits := make(map[rune]int)
		for i := range 99 {
			for _, user := range []string{"tom", "bill"} {
				k := key(t, f.Check(f.request(user)))
				require.Regexp(t, form, k)
				require.False(t, seen[k])
				seen[k] = true
				for _, d := range k {
					digits[d]++
				}
			}
			require.Equal(t, 2, f.Stats().Challenges)
			if i%3 == 2 {
				time.Sleep(32 * time.Second)
			}
		}
		for d, n := range digits { // 1109 each on average; 32 is the standard deviation
			require.InDelta(t, 1109, n, 300, string(d))
		}
	})
}

// BSP-2.10-3, BSP-2.10-6: other clients' keys are not good, and neither is one that
// was replaced long ago.
func TestOnlyOwnKeys(t *testing.T) {
	for name, cipher := range ciphers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(c *auth.Config) { c.Cipher = cipher })
				tom, bill := f.request("tom"), f.request("bill")
				d1 := f.Check(tom)
				d2 := f.Check(tom)
				billed := f.Check(bill)
				time.Sleep(32 * time.Second)

				for _, old := range []auth.Decision{d1, billed} {
					d := f.Check(f.answer(tom, old, `DE\tom`, "secret"))
					require.Equal(t, auth.Challenge, d.Verdict)
					require.ErrorIs(t, d.Reason, auth.ErrWrongKey)
					require.NotEqual(t, key(t, d1), key(t, d))
					require.NotEqual(t, key(t, d2), key(t, d))
				}
				require.Zero(t, f.verifier.calls.Load(), "a wrong key never reaches the verifier (BSP-2.10-10)")
				require.Equal(t, auth.Accept, f.Check(f.answer(tom, d2, `DE\tom`, "secret")).Verdict)
			})
		})
	}
}

// BSP-2.10-3: the key before stays good for 32 s after it was replaced. A client
// that sends several requests at once is let in by each of its answers, in any order.
func TestParallelAnswers(t *testing.T) {
	for name, cipher := range ciphers {
		for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}} {
			t.Run(fmt.Sprint(name, order), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFixture(t, func(c *auth.Config) { c.Cipher = cipher })
					r := f.request("tom")
					first := f.Check(r)
					time.Sleep(time.Minute) // the 32 s begin when a key is replaced
					all := []auth.Decision{first, f.Check(r), f.Check(r), f.Check(r)}
					time.Sleep(32*time.Second - time.Millisecond)
					for _, i := range order {
						require.Equal(t, auth.Accept, f.Check(f.answer(r, all[i], `DE\tom`, "secret")).Verdict, i)
					}
				})
			})
		}
	}
}

// The time for parallel answers ends with that of a transaction.
func TestParallelAnswersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		r := f.request("tom")
		d1, d2 := f.Check(r), f.Check(r)
		time.Sleep(32 * time.Second)
		require.ErrorIs(t, f.Check(f.answer(r, d1, `DE\tom`, "secret")).Reason, auth.ErrWrongKey)
		require.Equal(t, auth.Accept, f.Check(f.answer(r, d2, `DE\tom`, "secret")).Verdict)
	})
}

// BSP-2.10-8: a key is good until its lifetime ends.
func TestKeyLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		r := f.request("tom")
		d := f.Check(r)
		time.Sleep(5*time.Minute - time.Millisecond)
		require.Equal(t, auth.Accept, f.Check(f.answer(r, d, `DE\tom`, "secret")).Verdict)

		r = f.request("bill")
		d = f.Check(r)
		time.Sleep(5 * time.Minute)
		require.ErrorIs(t, f.Check(f.answer(r, d, `DE\bill`, "other")).Reason, auth.ErrWrongKey)
	})
}

// BSX-8: requests that are forged in a client's name push out none of its keys, whatever
// their number. Those that it is sent meanwhile are good for a lifetime, not for two.
func TestForgedRequestsPushOutNoKeys(t *testing.T) {
	for name, cipher := range ciphers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(c *auth.Config) { c.Cipher = cipher })
				r := f.request("tom")
				flood := func() {
					for range 100 {
						f.Check(r)
					}
				}
				before := f.Check(r)
				flood()
				during := f.Check(r)
				flood()
				require.NotEqual(t, key(t, before), key(t, during))
				require.Equal(t, auth.Accept, f.Check(f.answer(r, before, `DE\tom`, "secret")).Verdict)
				for range 5*60 - 1 {
					time.Sleep(time.Second)
					flood()
				}
				require.Equal(t, auth.Accept, f.Check(f.answer(r, during, `DE\tom`, "secret")).Verdict)
				time.Sleep(5*time.Minute + time.Second)
				r.Connection = 1 // where it has no session
				require.ErrorIs(t, f.Check(f.answer(r, during, `DE\tom`, "secret")).Reason, auth.ErrWrongKey)
				require.Zero(t, f.Stats().Failures)
			})
		})
	}
}

// A key that is derived is that of its client and address alone.
func TestDerivedKeysAreNotShared(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.MaxRecords = 1 })
	f.Check(f.request("ann"))
	tom, bill := f.request("tom"), f.request("bill")
	d := f.Check(tom)
	require.NotEqual(t, key(t, d), key(t, f.Check(tom)), "each 401 has another key than the one before")
	elsewhere := tom
	elsewhere.Source = bill.Source
	for _, r := range []auth.Request{bill, elsewhere} {
		require.ErrorIs(t, f.Check(f.answer(r, d, `DE\tom`, "secret")).Reason, auth.ErrWrongKey)
	}
	again := newFixture(t, func(c *auth.Config) { c.MaxRecords = 1 })
	require.ErrorIs(t, again.Check(again.answer(tom, d, `DE\tom`, "secret")).Reason, auth.ErrWrongKey, "another guard's")
	require.Equal(t, auth.Accept, f.Check(f.answer(tom, d, `DE\tom`, "secret")).Verdict)
}

// BSP-2.10-3, BSX-4, BSX-8: the number of keys that are kept is bounded, for a source and
// in all. Who finds no room is let in all the same, and so is whoever was there before.
func TestKeysAreBounded(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.MaxRecords = 32 })
	tom, flood := f.request("tom"), f.from("198.51.100.1")
	first := f.Check(tom)
	for i := range 1000 {
		flood.Client = fmt.Sprint(i)
		f.Check(flood)
	}
	require.Equal(t, 3, f.Stats().Challenges)
	bill := f.request("bill")
	second := f.Check(bill)
	for i := range 32 {
		f.Check(f.from(fmt.Sprintf("203.0.113.%d", i)))
	}
	require.Equal(t, 32, f.Stats().Challenges)
	ann := f.request("ann")
	third := f.Check(ann)
	require.Equal(t, 32, f.Stats().Challenges)
	require.Equal(t, auth.Accept, f.Check(f.answer(tom, first, `DE\tom`, "secret")).Verdict)
	require.Equal(t, auth.Accept, f.Check(f.answer(bill, second, `DE\bill`, "other")).Verdict)
	require.Equal(t, auth.Accept, f.Check(f.answer(ann, third, `DE\ann`, `p:a\ß€`)).Verdict)
}

// BSP-2.10-4: folds and spaces inside are tolerated, passwords may hold colons,
// backslashes and any UTF-8.
func TestRauthForms(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("ann")
	for name, fold := range map[string]func(string) string{
		"plain":      func(s string) string { return s },
		"folded":     func(s string) string { return s[:40] + "\r\n " + s[40:] },
		"spaces":     func(s string) string { return " " + s[:10] + " \t" + s[10:] + "  " },
		"line ends":  func(s string) string { return s[:30] + "\n" + s[30:] + "\n" },
		"no padding": func(s string) string { return strings.TrimRight(s, "=") },
	} {
		t.Run(name, func(t *testing.T) {
			r := r
			r.Client += name
			answer := f.answer(r, f.Check(r), `DE\ann`, `p:a\ß€`)
			answer.Rauth = fold(answer.Rauth)
			d := f.Check(answer)
			require.Equal(t, auth.Accept, d.Verdict)
			require.Equal(t, `de\ann`, d.Identity.Account)
		})
	}
}

// BSP-2.10-4: what is not UTF-8 is read as Windows-1252, in account and password.
func TestWindows1252(t *testing.T) {
	f := newFixture(t, nil)
	f.verifier.passwords[`de\jürgen`] = "Grün€“ž"
	for name, text := range map[string]string{
		"UTF-8": `DE\Jürgen:Grün€“ž`, "Windows-1252": "DE\\J\xfcrgen:Gr\xfcn\x80\x93\x9e", "UTF-8 in the name only": "DE\\Jürgen:Gr\xfcn",
	} {
		t.Run(name, func(t *testing.T) {
			r := f.request("tom")
			r.Client += name
			sealed, err := auth.Tuz{}.Encrypt(key(t, f.Check(r)), []byte(text))
			require.NoError(t, err)
			r.Rauth = base64(sealed)
			d := f.Check(r)
			if name == "UTF-8 in the name only" {
				require.ErrorIs(t, d.Reason, auth.ErrUnknownAccount, "one text has one encoding")
				return
			}
			require.Equal(t, auth.Accept, d.Verdict)
			require.Equal(t, `de\jürgen`, d.Identity.Account)
		})
	}
}

// BSP-2.10-6, BSP-2.10-10: what cannot be decoded gets a new key, and neither
// counts nor reaches the verifier.
func TestUndecodable(t *testing.T) {
	// As printed in §2.10, where the print has altered it.
	const printed = "VUJdf4D4XJgP/K8mntoWjQaJJYMr3NgESA41234+ctqYal3LLyZS6IoStfgJU1cH25xSkdJryoqeb\n7nlme21234dc+w5w0yB1w=="
	f := newFixture(t, nil)
	r := f.request("tom")
	last := key(t, f.Check(r))
	for _, rauth := range []string{
		"?", "====", "AAAA", "VUJDf4D4XJgP/K8mntoWjQ==", printed, strings.Repeat("A", 5000),
		"VUJDf4D4XJgP/K8mntoWjQmeSrU3n19P/J0fOiHb6U5XuHoJzobnBpQ=", // pad count 9
		"VUJDf4D4XJgP/K8mntoWjQGeSrU3n19P/J0fOiHb6U5X",             // pad count without a block
	} {
		r.Rauth = rauth
		d := f.Check(r)
		require.Equal(t, auth.Challenge, d.Verdict, rauth)
		require.ErrorIs(t, d.Reason, auth.ErrMalformed, rauth)
		require.NotEqual(t, last, key(t, d))
		last = key(t, d)
	}
	require.Zero(t, f.verifier.calls.Load())
	require.Zero(t, f.Stats().Failures)
	r.Rauth = ""
	require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
}

// BSP-2.10-6: a wrong password gets a 401 with a new key, which is good.
func TestWrongPassword(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")
	d := f.Check(r)
	again := f.Check(f.answer(r, d, `DE\tom`, "wrong"))
	require.ErrorIs(t, again.Reason, auth.ErrBadPassword)
	require.ErrorIs(t, again.Reason, auth.ErrBadCredentials)
	require.NotEqual(t, key(t, d), key(t, again))
	require.Equal(t, auth.Accept, f.Check(f.answer(r, again, `DE\tom`, "secret")).Verdict)
}

// BSP-2.10-7: what no account can have never reaches the verifier, and is a 401
// that does not count.
func TestNeverReachesTheVerifier(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")
	for _, text := range []string{
		`DE\tom:`, `DE\tom`, `:secret`, `\:secret`, `DE\:secret`, `A\B\c:secret`, "DE\\tom:sec\x00ret", "DE\\tom:a\nb",
		"DE\\t\x07om:secret", "DE\\tom:\xff\x81", "DE\\t\x9dom:\xff", "DE\\t\u200bom:secret", "",
		strings.Repeat("x", 257) + ":secret", "tom:" + strings.Repeat("x", 1025),
	} {
		d := f.Check(r)
		sealed, err := auth.Tuz{}.Encrypt(key(t, d), []byte(text))
		require.NoError(t, err)
		answer := r
		answer.Rauth = base64(sealed)
		d = f.Check(answer)
		require.Equal(t, auth.Challenge, d.Verdict, "%q", text)
		require.ErrorIs(t, d.Reason, auth.ErrMalformed, "%q", text)
	}
	require.Zero(t, f.verifier.calls.Load())
	require.Zero(t, f.Stats().Failures)
}
