package stack_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

func addrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	require.NoError(t, err)
	return a
}

// What finds the request of a response is read as the whole response is.
func TestPeek(t *testing.T) {
	for name, text := range map[string]string{
		"usual":         "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a:5060;branch=z9hG4bK1;rport=1\r\nCSeq: 7 NOTIFY\r\n\r\n",
		"compact":       "SIP/2.0 481 No\r\nCSeq : 7  NOTIFY\r\nv:SIP/2.0/UDP a;rport;branch=z9hG4bK1\r\n\r\n",
		"folded":        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n ;branch=z9hG4bK1\r\nCSeq: 7\r\n NOTIFY\r\n\r\n",
		"several":       "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b;branch=z9hG4bK2\r\nVia: x\r\nCSeq: 7 NOTIFY\r\n\r\n",
		"LF alone":      "SIP/2.0 100 \nVia: SIP/2.0/UDP a;Branch = z9hG4bK1\nCSeq: 7 NOTIFY\n\n",
		"no reason":     "SIP/2.0 200\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nCSeq: 7 NOTIFY\r\n\r\n",
		"case":          "sip/2.0 200 OK\r\nVIA: SIP/2.0/UDP a;BRANCH=z9hG4bK1\r\ncseq: 7 NOTIFY\r\n\r\n",
		"other fields":  "SIP/2.0 200 OK\r\nTo: <sip:a;branch=no>\r\nVia: SIP/2.0/UDP a;x=y;branch=z9hG4bK1\r\nCSeq: 7 NOTIFY\r\nl: 0\r\n\r\n",
		"spaces in Via": "SIP/2.0 200 OK\r\nVia: SIP / 2.0 / UDP a : 5060 ; branch = z9hG4bK1 ;rport\r\nCSeq: 7 NOTIFY\r\n\r\n",
	} {
		_, branch, method, ok := stack.Peek([]byte(text))
		require.True(t, ok, name)
		require.Equal(t, "z9hG4bK1", branch, name)
		require.Equal(t, "NOTIFY", method, name)
	}
	for _, text := range []string{"", "SIP/2.0 200 OK\r\n", "SIP/2.0 20x OK\r\nVia: SIP/2.0/UDP a;branch=1\r\nCSeq: 1 A\r\n\r\n",
		"SIP/2.0 700 OK\r\nVia: SIP/2.0/UDP a;branch=1\r\nCSeq: 1 A\r\n\r\n", "SIP/2.0 2000 OK\r\nVia: SIP/2.0/UDP a;branch=1\r\nCSeq: 1 A\r\n\r\n",
		"SIP/2.0 200 OK\r\nCSeq: 1 A\r\n\r\n", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=1\r\n\r\n", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nCSeq: 1 A\r\n\r\n"} {
		_, _, _, ok := stack.Peek([]byte(text))
		require.False(t, ok, "%q", text)
	}
}

// Whoever reads a response in two ways must not read two things.
func FuzzPeek(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a:5060;branch=z9hG4bK1;rport=1\r\nCSeq: 7 NOTIFY\r\n\r\n"))
	f.Add([]byte("SIP/2.0 481 \nv:SIP/2.0/UDP a\n ;branch=z9hG4bK1,x\nCSeq:7\tNOTIFY\n\nbody"))
	f.Fuzz(func(t *testing.T, data []byte) {
		status, branch, method, ok := stack.Peek(data)
		res, err := sipx.ParseResponse(data)
		if !ok || err != nil {
			return
		}
		if res.Status != status {
			t.Fatalf("status %d, then %d", status, res.Status)
		}
		if via, err := res.Header.TopVia(); err == nil && via.Branch() != branch {
			t.Fatalf("branch %q, then %q", branch, via.Branch())
		}
		if m := res.Header.CSeqMethod(); m != "" && m != method {
			t.Fatalf("method %q, then %q", method, m)
		}
	})
}

// What a branch is written for is found by it, and no other branch is ours.
func FuzzBranch(f *testing.F) {
	s, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { shutdown(nil, s) })
	f.Add(uint64(1), "z9hG4bK1")
	f.Fuzz(func(t *testing.T, id uint64, other string) {
		if got, ours := stack.ParseBranch(s, stack.Branch(s, id)); !ours || got != id {
			t.Fatalf("%d, then %d", id, got)
		}
		if got, ours := stack.ParseBranch(s, other); ours && stack.Branch(s, got) != other {
			t.Fatalf("%q is taken for %d", other, got)
		}
	})
}
