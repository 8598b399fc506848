package sipx_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openblustar/blustar/sipx"
)

func seedMessages(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/torture/*.sip")
	if err != nil || len(files) == 0 {
		f.Fatal("no messages", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(subscribe))
}

// A request that is taken is written and read again as the same.
func FuzzParseRequest(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := sipx.ParseRequest(data)
		if err != nil {
			if _, ok := errors.AsType[*sipx.Error](err); !ok {
				t.Fatalf("error of type %T", err)
			}
			if answer := sipx.AppendRejection(nil, data, err); len(answer) > 0 {
				if _, err := sipx.ParseResponse(answer); err != nil {
					t.Fatalf("rejection does not parse: %v\n%s", err, answer)
				}
			}
			return
		}
		drop := func(f sipx.Field) bool { return strings.EqualFold(f.Name, "Content-Length") }
		r.Header = slices.DeleteFunc(r.Header, drop)
		text := r.AppendTo(nil, "")
		again, err := sipx.ParseRequest(text)
		if err != nil {
			t.Fatalf("written request does not parse: %v\n%s", err, text)
		}
		again.Header = slices.DeleteFunc(again.Header, drop)
		if len(again.Header) > len(r.Header) { // the Max-Forwards that was added
			again.Header = again.Header[1:]
		}
		if again.Method != r.Method || again.URI != r.URI || again.CallID != r.CallID || again.CSeq != r.CSeq ||
			again.From.URI != r.From.URI || again.To.URI != r.To.URI || again.From.Tag() != r.From.Tag() ||
			again.To.Tag() != r.To.Tag() || string(again.Body) != string(r.Body) || !slices.Equal(again.Header, r.Header) {
			t.Fatalf("read:\n%+v\nwritten and read:\n%+v", r, again)
		}
		key := r.TransactionKey()
		if _, err := r.Arrived(sipx.Flow{Transport: "udp", Remote: netip.MustParseAddrPort("192.0.2.1:5060")}); err != nil {
			return
		}
		if key == "" {
			t.Fatal("a Via that arrives has a key")
		}
		if _, err := r.Header.TopVia(); err != nil {
			t.Fatalf("the noted Via does not parse: %q", r.Header.Get("Via"))
		}
		if _, err := sipx.ParseResponse((&sipx.Response{Status: 200, ToTag: "x"}).AppendTo(nil, r)); err != nil {
			t.Fatalf("response does not parse: %v", err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := sipx.ParseResponse(data)
		if err != nil {
			return
		}
		if r.Status < 100 || r.Status > 699 {
			t.Fatalf("status %d", r.Status)
		}
		_, _ = r.Header.TopVia()
		_ = r.Header.CSeqMethod()
		_, _ = sipx.Seconds(r.Header.Get("Retry-After"))
	})
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"sip:a@b", "sip:a;b?c@d:1;e=f?g=h", "sips:[::1]:5061", "tel:+49-30;x=y", "a:b", "sip:a:b@c", "SIP:A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := sipx.ParseURI(s)
		if err != nil {
			return
		}
		again, err := sipx.ParseURI(u.String())
		if err != nil || again != u {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", s, u, u.String(), again, err)
		}
		_, _ = u.Param("lr")
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{`"A \"B\"" <sip:a@b;lr>;tag=1`, "sip:a@b;tag=1", "A B <tel:1>", `"<" <sip:a>;x="y;z";tag="t"`, "<sip:a@b> ;tag=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return // no field value has line ends
		}
		a, err := sipx.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := sipx.ParseAddress(a.String())
		if err != nil || again.URI != a.URI || again.Params != a.Params || again.Display != a.Display {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", s, a, a.String(), again, err)
		}
		_ = a.Tag()
	})
}

// The elements of a list are those of the list that they make.
func FuzzSplitList(f *testing.F) {
	for _, s := range []string{"a, b", `"a,b" <c,d>;e, f`, `"\",",`, ",,", "<a", `"a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parts := slices.Collect(sipx.SplitList(s))
		for _, p := range parts {
			if p == "" || !strings.Contains(s, p) {
				t.Fatalf("%q has no element %q", s, p)
			}
		}
		if again := slices.Collect(sipx.SplitList(strings.Join(parts, ","))); !slices.Equal(parts, again) {
			t.Fatalf("%q: %q, then %q", s, parts, again)
		}
	})
}

func FuzzParseVia(f *testing.F) {
	for _, s := range []string{"SIP/2.0/UDP a:1;branch=z9hG4bK1;rport", "SIP / 2.0 / TCP [::1] ; x", "SIP/2.0/WS a.invalid"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := sipx.ParseVia(s)
		if err != nil {
			return
		}
		again, err := sipx.ParseVia(v.String())
		if err != nil || again != v {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", s, v, v.String(), again, err)
		}
		_ = v.Branch()
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, s := range []string{"presence", "presence.winfo;id=1", "a;ID=\"b;c\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := sipx.ParseEvent(s)
		if !ok || strings.ContainsAny(e.ID, `;"\`) || strings.TrimSpace(e.ID) != e.ID {
			return
		}
		if again, ok := sipx.ParseEvent(e.String()); !ok || again != e {
			t.Fatalf("%q is %+v, written %q, read %+v", s, e, e.String(), again)
		}
		_, _ = sipx.Seconds(s)
		_ = sipx.MediaType(s)
	})
}
