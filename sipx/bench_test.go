package sipx_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func BenchmarkParseRequest(b *testing.B) {
	data := []byte(subscribe)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sipx.ParseRequest(data); err != nil {
			b.Fatal(err)
		}
	}
}

// Parsing looks at each byte a few times, whatever a message is made of: the time for
// a byte does not grow with the size of the message (BSX-4).
func BenchmarkParseSizes(b *testing.B) {
	const rest = "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 PUBLISH\r\n"
	for _, shape := range []struct {
		name   string
		fields func(n int) string // of n bytes
	}{
		{"fields", func(n int) string { return strings.Repeat("X: "+strings.Repeat("y", n/200)+"\r\n", 200) }},
		{"folds", func(n int) string { return "X: y\r\n" + strings.Repeat(" "+strings.Repeat("y", n/200)+"\r\n", 200) }},
		{"params", func(n int) string { return "Via: SIP/2.0/UDP a" + strings.Repeat(";b=c", n/4) + "\r\n" }},
		{"quotes", func(n int) string { return "Contact: \"" + strings.Repeat("\\\"", n/2) + "\" <sip:a@b>\r\n" }},
		{"commas", func(n int) string { return "Via: SIP/2.0/UDP a" + strings.Repeat(",SIP/2.0/UDP a", n/14) + "\r\n" }},
		{"comments", func(n int) string { return "User-Agent: " + strings.Repeat("(", n) + "\x01\r\n" }},
	} {
		for _, size := range []int{1 << 10, 1 << 12, 15 << 10} {
			b.Run(shape.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				data := []byte("PUBLISH sip:b@b SIP/2.0\r\n" + shape.fields(size) + rest + "\r\n" + strings.Repeat("z", size))
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					if r, err := sipx.ParseRequest(data); err == nil {
						_, _ = r.Arrived(sipx.Flow{})
						for range r.Header.Tokens("Via") {
						}
						_, _ = sipx.ParseAddress(r.Header.Get("Contact"))
					}
				}
			})
		}
	}
}

func BenchmarkParseResponse(b *testing.B) {
	r := sipxtest.NewRequest(subscribe)
	data := sipx.NewResponse(200).AppendTo(nil, r)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sipx.ParseResponse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	r := sipxtest.NewRequest(subscribe)
	r.Header = sipx.Header{{"Event", "presence"}, {"Contact", "<sip:192.0.2.1>"}, {"Subscription-State", "active;expires=300"},
		{"Content-Type", "application/pidf+xml"}}
	r.Body = []byte(strings.Repeat("x", 1000))
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendTo(buf[:0], "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport")
	}
	b.SetBytes(int64(len(buf)))
}
