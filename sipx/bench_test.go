package sipx_test

import (
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
