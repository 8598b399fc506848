package ews_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/presence/ews"
)

// sites are the hosts of a test, over TLS and, where the port is 80, without.
type sites struct {
	exchange *fakeews.Server
	pages    map[string]http.HandlerFunc // by "host:port/path"
	asked    []string
	basic    []string // where credentials came
}

func (s *sites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	port := "80"
	if r.TLS != nil {
		port = "443"
	}
	key := r.Host + ":" + port + r.URL.Path
	_, _, credentials := r.BasicAuth()
	s.exchange.With(func() {
		s.asked = append(s.asked, key)
		if credentials {
			s.basic = append(s.basic, key)
		}
	})
	var page http.HandlerFunc
	s.exchange.With(func() { page = s.pages[key] })
	if page != nil {
		page(w, r)
		return
	}
	if strings.EqualFold(r.URL.Path, "/EWS/Exchange.asmx") && r.TLS != nil && r.Host == "mail.example.com" {
		s.exchange.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

func (s *sites) config(t *testing.T) ews.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(50, 0, 0), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"example.com", "*.example.com", "*.sub.example.com", "example.org", "*.example.org"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	plain := fakeews.Serve(t, &http.Server{Handler: s, ErrorLog: fakeews.Quiet})
	secure := fakeews.Serve(t, &http.Server{Handler: s, ErrorLog: fakeews.Quiet, ConnContext: s.exchange.Connected}, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	cfg := config(func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(address)
		switch {
		case !strings.HasSuffix("."+host, ".example.com") && !strings.HasSuffix("."+host, ".example.org"):
			return nil, errors.New("no such host: " + host)
		case port == "80":
			return plain(ctx, network, address)
		}
		return secure(ctx, network, address)
	})
	cfg.URL, cfg.Autodiscover = "", []string{"example.com"}
	cfg.Scheme, cfg.TLS = ews.Basic, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	s.exchange.Basic = true
	return cfg
}

const path = "/autodiscover/autodiscover.xml"

// pox answers with a response of autodiscover.
func pox(account string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || !strings.Contains(string(body), "<EMailAddress>") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<?xml version="1.0"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">`+
			`<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">%s</Response></Autodiscover>`, account)
	}
}

func ewsAt(url string) string {
	return `<Account><AccountType>email</AccountType><Action>settings</Action><Protocol><Type>EXCH</Type><EwsUrl>https://inside.example.com/EWS/Exchange.asmx</EwsUrl></Protocol>` +
		`<Protocol><Type>EXPR</Type><EwsUrl>` + url + `</EwsUrl><GroupingInformation>site1</GroupingInformation></Protocol></Account>`
}

func redirectTo(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

const mailURL = "https://mail.example.com/EWS/Exchange.asmx"

// TestAutodiscover: BSX-15. The server of a mailbox is found, and credentials go nowhere else.
func TestAutodiscover(t *testing.T) {
	tests := []struct {
		name  string
		pages map[string]http.HandlerFunc
		srv   string
		want  error  // nil: found
		text  string // of the error
	}{
		{"domain", map[string]http.HandlerFunc{"example.com:443" + path: pox(ewsAt(mailURL))}, "", nil, ""},
		{"autodiscover host", map[string]http.HandlerFunc{"autodiscover.example.com:443" + path: pox(ewsAt(mailURL))}, "", nil, ""},
		{"redirection without TLS", map[string]http.HandlerFunc{
			"autodiscover.example.com:80" + path: redirectTo("https://mail.example.com" + path),
			"mail.example.com:443" + path:        pox(ewsAt(mailURL)),
		}, "", nil, ""},
		{"SRV", map[string]http.HandlerFunc{"mail.example.com:443" + path: pox(ewsAt(mailURL))}, "mail.example.com.", nil, ""},
		{"another address", map[string]http.HandlerFunc{
			"example.com:443" + path:                  pox(`<Account><Action>redirectAddr</Action><RedirectAddr>Tom@sub.example.com</RedirectAddr></Account>`),
			"autodiscover.sub.example.com:443" + path: pox(ewsAt(mailURL)),
		}, "", nil, ""},
		{"another URL", map[string]http.HandlerFunc{
			"example.com:443" + path:      pox(`<Account><Action>redirectUrl</Action><RedirectUrl>https://mail.example.com` + path + `</RedirectUrl></Account>`),
			"mail.example.com:443" + path: pox(ewsAt(mailURL)),
		}, "", nil, ""},
		{"nowhere", nil, "", ews.ErrNotFound, "404"},
		{"unknown", map[string]http.HandlerFunc{"example.com:443" + path: pox(`<Error><ErrorCode>500</ErrorCode><Message>The email address can't be found.</Message></Error>`)}, "", ews.ErrNoMailbox, "error 500"},
		{"refused", map[string]http.HandlerFunc{"example.com:443" + path: pox(`<Error><ErrorCode>600</ErrorCode><Message>Invalid Request</Message></Error>`)}, "", ews.ErrNotFound, "error 600"},
		{"to a stranger", map[string]http.HandlerFunc{"example.com:443" + path: pox(ewsAt("https://mail.example.org/EWS/Exchange.asmx"))}, "", ews.ErrInsecure, "example.org"},
		{"to a name that looks right", map[string]http.HandlerFunc{"example.com:443" + path: pox(ewsAt("https://badexample.com/EWS/Exchange.asmx"))}, "", ews.ErrInsecure, "badexample.com"},
		{"to plain text", map[string]http.HandlerFunc{"example.com:443" + path: pox(ewsAt("http://mail.example.com/EWS/Exchange.asmx"))}, "", ews.ErrInsecure, "http://mail"},
		{"redirected to a stranger", map[string]http.HandlerFunc{"autodiscover.example.com:80" + path: redirectTo("https://evil.example.org" + path)}, "", ews.ErrInsecure, "evil.example.org"},
		{"record of a stranger", nil, "evil.example.org.", ews.ErrInsecure, "evil.example.org"},
		{"in circles", map[string]http.HandlerFunc{"example.com:443" + path: redirectTo("https://example.com" + path)}, "", ews.ErrNotFound, "circles"},
		{"to an address that leads back", map[string]http.HandlerFunc{
			"example.com:443" + path:     pox(`<Account><Action>redirectAddr</Action><RedirectAddr>tom@sub.example.com</RedirectAddr></Account>`),
			"sub.example.com:443" + path: pox(`<Account><Action>redirectAddr</Action><RedirectAddr>tom@example.com</RedirectAddr></Account>`),
		}, "", ews.ErrNotFound, "circles"},
		{"a web page", map[string]http.HandlerFunc{"example.com:443" + path: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<html><body>Welcome<br></body></html>")
		}}, "", ews.ErrNotFound, "autodiscover"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sites{exchange: fakeews.New(), pages: tt.pages}
				s.exchange.Add(tom, in("a", 0))
				m := monitor(t, s.config(t))
				ews.SetLookup(m, func(context.Context, string, string, string) (string, []*net.SRV, error) {
					if tt.srv == "" {
						return "", nil, errors.New("no such record")
					}
					return "", []*net.SRV{{Target: tt.srv, Port: 443}}, nil
				})
				w := start(t, m, tom)
				passes(5 * time.Second)
				for _, key := range s.basic {
					require.Contains(t, key, "example.com:443")
				}
				if tt.want != nil {
					require.ErrorIs(t, w.err, tt.want)
					require.ErrorContains(t, w.err, tt.text)
					return
				}
				require.Equal(t, []string{"a"}, w.ids())
				asked := len(s.asked)
				w.stop()
				w = start(t, m, tom)
				passes(time.Second)
				require.Equal(t, []string{"a"}, w.ids())
				for _, key := range s.asked[asked:] {
					require.NotContains(t, key, path, "it is remembered")
				}
				w.stop()
			})
		})
	}
	t.Run("another domain", func(t *testing.T) {
		s := &sites{exchange: fakeews.New()}
		synctest.Test(t, func(t *testing.T) {
			w := start(t, monitor(t, s.config(t)), "tom@example.org")
			require.ErrorIs(t, w.err, ews.ErrInsecure)
			require.Empty(t, s.asked)
		})
	})
	t.Run("inside", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &sites{exchange: fakeews.New(), pages: map[string]http.HandlerFunc{"example.com:443" + path: pox(ewsAt(mailURL))}}
			cfg := s.config(t)
			cfg.Internal = true
			w := start(t, monitor(t, cfg), tom)
			passes(5 * time.Second)
			require.ErrorContains(t, w.err, "https://inside.example.com/EWS/Exchange.asmx: 404")
		})
	})
}

// TestAutodiscoverComesBack: one that is away for a while costs a while.
func TestAutodiscoverComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sites{exchange: fakeews.New(), pages: make(map[string]http.HandlerFunc)}
		s.exchange.Add(tom, in("a", time.Hour))
		m := monitor(t, s.config(t))
		ews.SetLookup(m, func(context.Context, string, string, string) (string, []*net.SRV, error) {
			return "", nil, errors.New("no such record")
		})
		kept := keep(t, m, tom)
		passes(10 * time.Minute)
		require.False(t, kept.shown())
		require.Less(t, len(s.asked), 100)
		s.exchange.With(func() { s.pages["example.com:443"+path] = pox(ewsAt(mailURL)) })
		passes(2 * time.Minute)
		require.True(t, kept.shown())
		kept.stop()
	})
}

// TestMoved: a mailbox that is on another server is looked for anew, and seen there.
func TestMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := "https://old.example.com/EWS/Exchange.asmx"
		s := &sites{exchange: fakeews.New(), pages: map[string]http.HandlerFunc{
			"example.com:443" + path: func(w http.ResponseWriter, r *http.Request) { pox(ewsAt(at))(w, r) },
		}}
		s.exchange.Add(tom, in("a", 2*time.Hour))
		s.pages["old.example.com:443/EWS/Exchange.asmx"] = s.exchange.ServeHTTP
		w := start(t, monitor(t, s.config(t)), tom)
		passes(5 * time.Minute)
		require.Equal(t, []string{"a"}, w.ids())

		s.exchange.With(func() {
			at = mailURL
			s.pages["old.example.com:443/EWS/Exchange.asmx"] = func(w http.ResponseWriter, _ *http.Request) { fakeews.Fault(w, "ErrorWrongServerVersion", "") }
		})
		s.exchange.Restart()
		passes(4 * time.Minute)
		s.exchange.Change(tom, func(b *fakeews.Mailbox) { b.Items = append(b.Items, in("b", 0)) })
		passes(betweenQuestions)
		require.Equal(t, []string{"b", "a"}, w.ids())
		w.stop()
	})
}
