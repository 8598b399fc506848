package stack_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// certificate makes a certificate for 127.0.0.1, and trusts it.
func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "stack test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: roots}
}

// BSP-4-6
func TestTLS(t *testing.T) {
	cfg := certificate(t)
	server := listen(t, stack.Config{Listen: []string{"tls:127.0.0.1:0"}, TLS: cfg})
	flows := make(chan sipx.Flow, 1)
	serve(t, server, sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		flows <- r.Flow
		ok(ctx, w, r)
	}))
	client := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, TLS: cfg})
	serve(t, client, sipx.HandlerFunc(ok))
	for _, target := range []string{"sip:" + address(server, "tls") + ";transport=tls", "sips:" + address(server, "tls")} {
		req := options(target)
		req.Body = []byte(strings.Repeat("x", 20000))
		res, err := sipx.Do(t.Context(), client, req)
		require.NoError(t, err)
		require.Equal(t, 200, res.Status)
		flow := <-flows
		require.True(t, flow.Secure())
		back := options("sip:peer@example.com")
		back.Flow = flow
		res, err = sipx.Do(t.Context(), server, back)
		require.NoError(t, err)
		require.Equal(t, 200, res.Status)
		require.Equal(t, "<sip:"+address(server, "tls")+";transport=tls>", server.Contact(flow))
	}
	// A server whose certificate nobody vouches for is not spoken to.
	stranger := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
	_, err := sipx.Do(t.Context(), stranger, options("sips:"+address(server, "tls")))
	require.ErrorContains(t, err, "certificate")
}

// RFC 7118
func TestWebSocket(t *testing.T) {
	cfg := certificate(t)
	s := listen(t, stack.Config{Listen: []string{"ws:127.0.0.1:0", "wss:127.0.0.1:0"}, TLS: cfg})
	flows := make(chan sipx.Flow, 10)
	h := observed{closed: make(chan sipx.Flow, 1), HandlerFunc: func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		flows <- r.Flow
		ok(ctx, w, r)
	}}
	serve(t, s, h)
	for _, transport := range []string{"ws", "wss"} {
		dialer := ws.Dialer{Protocols: []string{"sip"}, TLSConfig: cfg}
		c, _, shake, err := dialer.Dial(t.Context(), transport+"://"+address(s, transport))
		require.NoError(t, err)
		require.Equal(t, "sip", shake.Protocol)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))

		require.NoError(t, wsutil.WriteClientText(c, []byte(message(strings.ToUpper(transport), "1", ""))))
		data, err := wsutil.ReadServerText(c)
		require.NoError(t, err)
		require.Contains(t, string(data), "SIP/2.0 200 ")
		flow := <-flows
		require.Equal(t, transport, flow.Transport)

		// A request to the client comes by its connection.
		outcome := make(chan error, 1)
		req := options("sip:peer@df7jal23ls0d.invalid;transport=ws")
		req.Flow = flow
		s.Send(req, sipx.ResponseHandlerFunc(func(_ *sipx.Request, _ *sipx.Response, err error) { outcome <- err }))
		data, err = wsutil.ReadServerText(c)
		require.NoError(t, err)
		got, err := sipx.ParseRequest(data)
		require.NoError(t, err)
		answer := (&sipx.Response{Status: 200, ToTag: "x"}).AppendTo(nil, got)
		// In two fragments, with a ping between them.
		require.NoError(t, ws.WriteFrame(c, ws.MaskFrame(ws.NewFrame(ws.OpText, false, answer[:10]))))
		require.NoError(t, ws.WriteFrame(c, ws.MaskFrame(ws.NewPingFrame([]byte("there?")))))
		require.NoError(t, ws.WriteFrame(c, ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, answer[10:]))))
		require.NoError(t, <-outcome)
		pong, err := ws.ReadFrame(c)
		require.NoError(t, err)
		require.Equal(t, ws.OpPong, pong.Header.OpCode)
		require.Equal(t, "there?", string(pong.Payload))

		// What is no SIP does no harm.
		require.NoError(t, wsutil.WriteClientBinary(c, []byte("\x00\x01")))
		require.NoError(t, wsutil.WriteClientText(c, []byte("\r\n\r\n")))
		data, err = wsutil.ReadServerText(c)
		require.NoError(t, err)
		require.Equal(t, "\r\n", string(data))

		require.NoError(t, c.Close())
		require.Equal(t, flow, <-h.closed)
	}
}

// A frame that claims more than Config.MaxMessage ends the connection before
// anything is kept of it.
func TestWebSocketTooLarge(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"ws:127.0.0.1:0"}})
	c, _, _, err := ws.Dialer{Protocols: []string{"sip"}}.Dial(t.Context(), "ws://"+address(s, "ws"))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, ws.WriteHeader(c, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 1 << 40}))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 10))
	require.ErrorContains(t, err, "EOF")
}
