package ews

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/Azure/go-ntlmssp"
)

// Scheme is the way to sign in.
type Scheme string

// The schemes. Both need TLS, see [Config.AllowHTTP].
const (
	NTLM  Scheme = ""      // NTLMv2, offered as NTLM or Negotiate
	Basic Scheme = "basic" // RFC 7617
)

// lane sends one request at a time over one connection. NTLM signs in a
// connection, not a request ([MS-NTHT] §4): what shares connections between
// requests that run at the same time cannot do it.
type lane struct {
	transport *http.Transport
	account   *account
	scheme    Scheme
	name      string   // of the scheme as the server offers it
	signedIn  net.Conn // by NTLM; nil: none
	used      net.Conn // by the last request
}

func newLane(cfg *Config, a *account) *lane {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // NTLM knows no other
	l := &lane{account: a, scheme: cfg.Scheme, name: "NTLM", transport: &http.Transport{
		DialContext: cfg.Dial, TLSClientConfig: cfg.TLS, Protocols: protocols, MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1,
		MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: idleTimeout, TLSHandshakeTimeout: dialTimeout,
		DisableCompression: true, Proxy: cfg.proxy,
	}}
	return l
}

func (l *lane) close() { l.transport.CloseIdleConnections() }

// do sends a request to u. The lane is free again once the body of the response
// has been read to its end. The response may be any but a challenge.
func (l *lane) do(ctx context.Context, u *url.URL, header http.Header, body string) (*http.Response, error) {
	if l.scheme == Basic {
		return l.basic(ctx, u, header, body)
	}
	if l.signedIn != nil {
		resp, err := l.send(ctx, u, header, body, "")
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		drain(resp) // a new connection
	}
	return l.ntlm(ctx, u, header, body)
}

func (l *lane) basic(ctx context.Context, u *url.URL, header http.Header, body string) (*http.Response, error) {
	a, err := l.account.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer a.unknown()
	pair := a.User + ":" + string(a.Password.Reveal())
	resp, err := l.send(ctx, u, header, body, "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	if err != nil {
		return nil, err
	}
	return resp, judge(a, resp)
}

// ntlm signs the connection in with this request: an empty one asks for the
// challenge, and the real one answers it, over the same connection.
func (l *lane) ntlm(ctx context.Context, u *url.URL, header http.Header, body string) (*http.Response, error) {
	l.signedIn = nil
	a, err := l.account.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer a.unknown()
	hello, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		return nil, fmt.Errorf("ews: NTLM: %w", err)
	}
	resp, err := l.send(ctx, u, header, "", l.name+" "+base64.StdEncoding.EncodeToString(hello))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	drain(resp)
	challenge, offered := challengeOf(resp.Header, l.name)
	if challenge == nil {
		if l.name == "NTLM" && offered == "Negotiate" {
			l.name = offered
			a.unknown()
			return l.ntlm(ctx, u, header, body)
		}
		return nil, fmt.Errorf("%w: %s offers %.100q", ErrScheme, plain(u),
			strings.Join(resp.Header.Values("WWW-Authenticate"), ", "))
	}
	proof, err := ntlmssp.NewAuthenticateMessage(challenge, a.User, string(a.Password.Reveal()), nil)
	if err != nil {
		return nil, fmt.Errorf("ews: NTLM: %w", err)
	}
	conn := l.used
	resp, err = l.send(ctx, u, header, body, l.name+" "+base64.StdEncoding.EncodeToString(proof))
	if err != nil {
		return nil, err
	}
	if l.used != conn { // then a 401 says nothing of the password
		drain(resp)
		return nil, fmt.Errorf("ews: %s: the connection ended while signing in", plain(u))
	}
	if err := judge(a, resp); err != nil {
		return nil, err
	}
	l.signedIn = conn
	return resp, nil
}

// judge notes what a response says of the credentials.
func judge(a *attempt, resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		drain(resp)
		return a.refused()
	case resp.StatusCode == http.StatusOK || isXML(resp):
		a.accepted()
	}
	return nil
}

func isXML(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/xml" || kind == "application/xml"
}

// challengeOf returns the NTLM challenge of a response, or the name by which NTLM
// is offered.
func challengeOf(header http.Header, name string) (challenge []byte, offered string) {
	for _, v := range header.Values("WWW-Authenticate") {
		scheme, token, _ := strings.Cut(strings.TrimSpace(v), " ")
		switch {
		case strings.EqualFold(scheme, name) && token != "":
			if challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token)); err == nil && len(challenge) > 0 {
				return challenge, name
			}
		case strings.EqualFold(scheme, "NTLM"):
			offered = "NTLM"
		case strings.EqualFold(scheme, "Negotiate") && offered == "":
			offered = "Negotiate"
		}
	}
	return nil, offered
}

// send sends one request and notes the connection that it took. An error does not
// show what is in the URL beside host and path.
func (l *lane) send(ctx context.Context, u *url.URL, header http.Header, body, authorization string) (*http.Response, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { l.used = i.Conn }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ews: malformed request to %s", plain(u))
	}
	req.Header = header.Clone()
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ews: %s: %w", plain(u), err)
	}
	return resp, nil
}

// drain reads a body to its end, so that the connection stays.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// plain writes a URL for errors and logs.
func plain(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
