package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// findNode returns the path of Node, and the folder that has the packages.
func findNode(t *testing.T, packages ...string) (node, folder string) {
	t.Helper()
	node = installed(t, "node", "nodejs")
	for _, folder := range filepath.SplitList(os.Getenv("NODE_PATH")) {
		there := func(name string) bool {
			_, err := os.Stat(filepath.Join(folder, name, "package.json"))
			return err == nil
		}
		if !slices.ContainsFunc(packages, func(name string) bool { return !there(name) }) {
			return node, folder
		}
	}
	missing(t, "no folder of NODE_PATH has the npm packages "+strings.Join(packages, ", "))
	return "", ""
}

// telephone starts a program of the folder node for ann, who watches tom at a server.
func telephone(t *testing.T, name, server, caFile string) *program {
	t.Helper()
	node, packages := findNode(t, "ws", strings.Replace(name, "sipjs", "sip.js", 1))
	text, err := os.ReadFile(filepath.Join("node", name+".mjs"))
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.mjs"), text, 0o600))
	require.NoError(t, os.Symlink(packages, filepath.Join(folder, "node_modules"))) // modules are not looked for along NODE_PATH
	return launch(t, folder, []string{"NODE_EXTRA_CA_CERTS=" + caFile}, node, "main.mjs", server, domain, "ann", "tom", password)
}

// Telephones in a browser, over WebSockets with and without TLS: RFC 7118, RFC 3856, RFC 3903; BSX-6. They
// authenticate by Digest, and refresh when they are told to. So do they behind a Kamailio that is
// the edge (BSP-4-3).
func TestBrowserTelephones(t *testing.T) {
	for _, name := range []string{"sipjs", "jssip"} {
		for _, transport := range []string{"ws", "wss", "ws by Kamailio", "wss by Kamailio"} {
			t.Run(name+" "+transport, func(t *testing.T) {
				t.Parallel()
				cert, key := certificate(t, "127.0.0.1")
				s := serve(t, map[string]any{
					"listen": []string{"udp:127.0.0.1:0", "ws:127.0.0.1:0", "wss:127.0.0.1:0"}, "tls": map[string]any{"cert": cert, "key": key},
					"auth": md5, "limits": map[string]any{"min_expires": 1},
				})
				var edge string
				switch transport {
				case "ws by Kamailio":
					edge = "ws://" + border(t, s, "udp", "EDGE").address
				case "wss by Kamailio":
					k := border(t, s, "udp", "EDGE", "TLS")
					edge, cert = "wss://"+k.secure, k.cert
				default:
					edge = transport + "://" + s.listening(transport)
				}
				ann := telephone(t, name, edge, cert)
				ann.prints(`watches`)
				ann.prints(`NOTIFY active\S* Signed out`)
				s.line(users["tom"], "busy")
				ann.prints(`NOTIFY active\S* In a call`)
				until := s.list("subscriptions")[0].Expires
				ann.says("refresh")
				s.eventually("a refresh", func() bool {
					list := s.list("subscriptions")
					return len(list) == 1 && list[0].Expires.After(until)
				})
				s.line(users["tom"], "idle")
				if name == "jssip" { // which cannot publish
					ann.says("end")
					ann.prints(`NOTIFY terminated`)
				} else {
					ann.says("publish")
					ann.prints(`published one`)
					ann.prints(`NOTIFY active\S* one`)
					ann.says("again")
					ann.prints(`published two`)
					ann.prints(`NOTIFY active\S* two`)
					ann.says("unpublish")
					ann.prints(`unpublished`)
					ann.says("unsubscribe")
					ann.prints(`unsubscribed`)
					s.forgets()
					ann.says("end")
				}
				ann.prints(`(?m)^end$`)
				require.NoError(t, ann.wait())
				s.forgets()
			})
		}
	}
}

// certificate writes a certificate for an address, with its key, and returns their files.
func certificate(t *testing.T, address string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, DNSNames: []string{domain}, IsCA: true, BasicConstraintsValid: true,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	folder := t.TempDir()
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}
