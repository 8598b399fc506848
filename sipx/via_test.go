package sipx_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

func TestParseVia(t *testing.T) {
	for in, want := range map[string]sipx.Via{
		"SIP/2.0/UDP 20.20.20.20;branch=z9hG4bK94ac;alias;rport=5060": {Transport: "udp", Host: "20.20.20.20",
			Params: ";branch=z9hG4bK94ac;alias;rport=5060"},
		"SIP / 2.0 / TCP  host.example.com : 5070 ; branch=x": {Transport: "tcp", Host: "host.example.com", Port: 5070,
			Params: "; branch=x"},
		"sip/2.0/TLS [2001:db8::1]:5061":   {Transport: "tls", Host: "[2001:db8::1]", Port: 5061},
		"SIP/2.0/WSS df7jal23ls0d.invalid": {Transport: "wss", Host: "df7jal23ls0d.invalid"},
		"SIP/2.0/SCTP [::1]":               {Transport: "sctp", Host: "[::1]"},
	} {
		got, err := sipx.ParseVia(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		again, err := sipx.ParseVia(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, in := range []string{"", "SIP/2.0/UDP", "SIP/2.0 x", "SIP/3.0/UDP x", "HTTP/2.0/UDP x", "SIP/2.0/UDP x:0",
		"SIP/2.0/UDP x:y", "SIP/2.0/UDP [::1", "SIP/2.0/UDP [::1]x", "SIP/2.0/UDP ;branch=1", "SIP/2.0/UDP x y",
		"SIP/2.0/U@P x", "SIP/2.0/UDP x;;y", "SIP/2.0/UDP x;"} {
		_, err := sipx.ParseVia(in)
		require.Error(t, err, in)
	}
}

// RFC 3261 §18.2.1 and §18.2.2, RFC 3581 §4
func TestArrived(t *testing.T) {
	const source = "192.0.2.9:40000"
	for _, test := range []struct{ name, via, want, reply string }{
		{"rport is filled in", "SIP/2.0/UDP 192.0.2.9:5060;rport;branch=1",
			"SIP/2.0/UDP 192.0.2.9:5060;rport=40000;branch=1;received=192.0.2.9", source},
		{"behind a NAT", "SIP/2.0/UDP 10.0.0.1:5060;branch=1;rport",
			"SIP/2.0/UDP 10.0.0.1:5060;branch=1;rport=40000;received=192.0.2.9", source},
		{"behind a NAT, without rport", "SIP/2.0/UDP 10.0.0.1:5060;branch=1",
			"SIP/2.0/UDP 10.0.0.1:5060;branch=1;received=192.0.2.9", source},
		{"the port asked for", "SIP/2.0/UDP 192.0.2.9:5070;branch=1", "SIP/2.0/UDP 192.0.2.9:5070;branch=1", "192.0.2.9:5070"},
		{"the usual port", "SIP/2.0/UDP 192.0.2.9;branch=1", "SIP/2.0/UDP 192.0.2.9;branch=1", "192.0.2.9:5060"},
		{"a name", "SIP/2.0/UDP host.example.com;branch=1", "SIP/2.0/UDP host.example.com;branch=1;received=192.0.2.9", source},
		{"as printed in §2.10", "SIP/2.0/UDP 20.20.20.20;branch=z9hG4bK94ac96337c68e6b54;alias;rport=5060",
			"SIP/2.0/UDP 20.20.20.20;branch=z9hG4bK94ac96337c68e6b54;alias;rport=5060;received=192.0.2.9", source},
		{"only the first", "SIP/2.0/UDP 192.0.2.9;rport, SIP/2.0/UDP b;rport",
			"SIP/2.0/UDP 192.0.2.9;rport=40000;received=192.0.2.9, SIP/2.0/UDP b;rport", source},
	} {
		r := &sipx.Request{Header: sipx.Header{{"To", "x"}, {"Via", test.via}, {"Via", "SIP/2.0/UDP c;rport"}}}
		flow := sipx.Flow{Transport: "udp", Remote: netip.MustParseAddrPort(source)}
		reply, err := r.Arrived(flow)
		require.NoError(t, err, test.name)
		require.Equal(t, test.want, r.Header[1].Value, test.name)
		require.Equal(t, "SIP/2.0/UDP c;rport", r.Header[2].Value)
		require.Equal(t, test.reply, reply.String(), test.name)
		require.Equal(t, flow, r.Flow)
	}
	for _, h := range []sipx.Header{nil, {{"Via", ""}}, {{"Via", "nonsense"}}} {
		_, err := (&sipx.Request{Header: h}).Arrived(sipx.Flow{Remote: netip.MustParseAddrPort(source)})
		var e *sipx.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 400, e.Status)
	}
}

// RFC 3261 §17.2.3
func TestTransactionKey(t *testing.T) {
	request := func(method, via, callID string) *sipx.Request {
		return &sipx.Request{Method: method, CallID: callID, CSeq: 1, Header: sipx.Header{{"Via", via}}}
	}
	key := request("SUBSCRIBE", "SIP/2.0/UDP a;branch=z9hG4bK1", "c").TransactionKey()
	require.Equal(t, key, request("SUBSCRIBE", "SIP/2.0/UDP a;branch=z9hG4bK1;x", "other").TransactionKey())
	for _, other := range []*sipx.Request{
		request("PUBLISH", "SIP/2.0/UDP a;branch=z9hG4bK1", "c"),
		request("SUBSCRIBE", "SIP/2.0/UDP b;branch=z9hG4bK1", "c"),
		request("SUBSCRIBE", "SIP/2.0/UDP a:5061;branch=z9hG4bK1", "c"),
		request("SUBSCRIBE", "SIP/2.0/UDP a;branch=z9hG4bK2", "c"),
		request("SUBSCRIBE", "SIP/2.0/UDP a;branch=1", "c"),
	} {
		require.NotEqual(t, key, other.TransactionKey())
	}
	require.Equal(t, request("INVITE", "SIP/2.0/UDP a;branch=z9hG4bK1", "c").TransactionKey(),
		request("ACK", "SIP/2.0/UDP a;branch=z9hG4bK1", "c").TransactionKey())
	require.NotEqual(t, request("SUBSCRIBE", "SIP/2.0/UDP a", "c").TransactionKey(),
		request("SUBSCRIBE", "SIP/2.0/UDP a", "d").TransactionKey(), "RFC 2543: by its Call-ID")
	require.Empty(t, (&sipx.Request{}).TransactionKey())
}
