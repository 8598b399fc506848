package msgraph_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/msgraph"
)

// TestToken: one token for all, from a secret that is read when it is used.
func TestToken(t *testing.T) {
	t.Run("one for all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			app := newApp(t, config(t, s))
			var all sync.WaitGroup
			for range 2000 {
				all.Go(func() { require.NoError(t, app.CheckToken(t.Context())) })
			}
			all.Wait()
			require.Equal(t, []string{askToken}, s.Requests())
			time.Sleep(54 * time.Minute)
			require.NoError(t, app.CheckToken(t.Context()))
			require.Equal(t, 1, s.Tokens())
			time.Sleep(2 * time.Minute)
			require.NoError(t, app.CheckToken(t.Context()))
			require.Equal(t, 2, s.Tokens(), "five minutes before its end")
		})
	})
	t.Run("the old one serves while there is no new one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			s.TokenLife = 10 * time.Minute
			app := newApp(t, config(t, s))
			require.NoError(t, app.CheckToken(t.Context()))
			s.Intercept(status(http.StatusServiceUnavailable))
			time.Sleep(9 * time.Minute)
			require.NoError(t, app.CheckToken(t.Context()))
			time.Sleep(2 * time.Minute)
			require.Error(t, app.CheckToken(t.Context()))
			s.Intercept(nil)
			time.Sleep(time.Minute)
			require.NoError(t, app.CheckToken(t.Context()))
		})
	})
	t.Run("refused once, until the file changes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			cfg := config(t, s)
			require.NoError(t, os.WriteFile(cfg.SecretFile, []byte("wrong"), 0o600))
			app := newApp(t, cfg)
			for range 9 {
				err := app.CheckToken(t.Context())
				require.ErrorIs(t, err, msgraph.ErrUnauthorized)
				require.ErrorContains(t, err, "wrong client secret")
				time.Sleep(30 * time.Second)
			}
			require.Len(t, s.Requests(), 1)
			time.Sleep(time.Minute)
			require.ErrorIs(t, app.CheckToken(t.Context()), msgraph.ErrUnauthorized)
			require.Len(t, s.Requests(), 1)
			require.NoError(t, os.WriteFile(cfg.SecretFile, []byte(s.Secret), 0o600))
			require.NoError(t, app.CheckToken(t.Context()))
		})
	})
	t.Run("a service that fails is not asked by each", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			app := newApp(t, config(t, s))
			s.Intercept(status(http.StatusTooManyRequests, "Retry-After", "60"))
			for range 100 {
				require.Error(t, app.CheckToken(t.Context()))
			}
			time.Sleep(59 * time.Second)
			err := app.CheckToken(t.Context())
			require.Error(t, err)
			require.Len(t, s.Requests(), 1)
			s.Intercept(nil)
			time.Sleep(10 * time.Second)
			require.NoError(t, app.CheckToken(t.Context()))
		})
	})
	t.Run("revoked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			app := newApp(t, config(t, s))
			c, err := app.NewCalendar(msgraph.CalendarConfig{})
			require.NoError(t, err)
			w := watchCalendar(t, c, "tom.hanks@contoso.example")
			w.after(10 * time.Minute)
			s.RevokeTokens()
			n := w.count()
			w.after(2 * time.Minute)
			require.Greater(t, w.count(), n)
			require.Equal(t, 2, s.Tokens())
			w.cancel()
		})
	})
	t.Run("revoked each time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			app := newApp(t, config(t, s))
			c, err := app.NewCalendar(msgraph.CalendarConfig{})
			require.NoError(t, err)
			s.Intercept(func(http.ResponseWriter, *http.Request) bool { s.RevokeTokens(); return false })
			for range 600 {
				err := c.MonitorCalendar(t.Context(), "tom.hanks@contoso.example", nil)
				require.ErrorIs(t, err, msgraph.ErrUnauthorized)
				time.Sleep(time.Second)
			}
			require.LessOrEqual(t, s.Tokens(), 11, "one a minute")
		})
	})
	t.Run("answers that are none", func(t *testing.T) {
		for _, body := range []string{
			"", "{}", "<html></html>", `{"token_type":"Bearer","expires_in":3599}`, `{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nb"}`,
			`{"token_type":"mac","expires_in":3599,"access_token":"tok"}`, `{"token_type":"Bearer","access_token":"tok"}`,
		} {
			synctest.Test(t, func(t *testing.T) {
				s := newTenant()
				s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(body)); return true })
				require.Error(t, newApp(t, config(t, s)).CheckToken(t.Context()), body)
			})
		}
	})
}

// pair returns a certificate and its key in PEM.
func pair(t *testing.T, until time.Time) (*x509.Certificate, string, string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "blustar"}, NotBefore: until.Add(-1000 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// TestCertificate: an assertion in place of a secret; certificate and key are read when they are
// used.
func TestCertificate(t *testing.T) {
	s := newTenant()
	certificate, certificatePEM, keyPEM := pair(t, time.Now().Add(time.Hour))
	s.Certificate = certificate
	cfg := config(t, s)
	cfg.SecretFile = ""
	cfg.CertificateFile = file(t, certificatePEM+keyPEM)
	require.NoError(t, newApp(t, cfg).CheckToken(t.Context()))
	cfg.CertificateFile, cfg.KeyFile = file(t, certificatePEM), file(t, keyPEM)
	require.NoError(t, newApp(t, cfg).CheckToken(t.Context()))
	require.Equal(t, 2, s.Tokens())

	_, otherPEM, otherKey := pair(t, time.Now().Add(time.Hour))
	_, oldPEM, oldKey := pair(t, time.Now().Add(-time.Hour))
	app := newApp(t, cfg)
	replace := func(certificate, key string) {
		require.NoError(t, os.WriteFile(cfg.CertificateFile, []byte(certificate), 0o600))
		require.NoError(t, os.WriteFile(cfg.KeyFile, []byte(key), 0o600))
	}
	for _, tt := range []struct{ name, certificate, key, want string }{
		{"not the application's", otherPEM, otherKey, "the certificate is not one of the application's"},
		{"key of another", certificatePEM, otherKey, "is not that of the certificate"},
		{"expired", oldPEM, oldKey, "has expired"},
		{"no key", certificatePEM, certificatePEM, "no unencrypted RSA key"},
		{"no certificate", keyPEM, keyPEM, "no certificate"},
		{"empty", "", "", "no certificate"},
	} {
		replace(tt.certificate, tt.key)
		require.ErrorContains(t, app.CheckToken(t.Context()), tt.want, tt.name)
	}
	replace(certificatePEM, keyPEM)
	require.NoError(t, app.CheckToken(t.Context()), "what was refused was another")
}

func TestConfig(t *testing.T) {
	good := func() msgraph.Config {
		return msgraph.Config{Tenant: "contoso.example", ClientID: "id", SecretFile: "secret"}
	}
	_, err := msgraph.New(good())
	require.NoError(t, err, "nothing is read yet")
	for name, change := range map[string]func(*msgraph.Config){
		"Config.Tenant: missing":               func(c *msgraph.Config) { c.Tenant = "" },
		`Config.Tenant: "a/b"`:                 func(c *msgraph.Config) { c.Tenant = "a/b" },
		"Config.ClientID: missing":             func(c *msgraph.Config) { c.ClientID = "" },
		"Config.SecretFile: missing":           func(c *msgraph.Config) { c.SecretFile = "" },
		"Config.SecretFile: there is":          func(c *msgraph.Config) { c.CertificateFile = "x" },
		"Config.KeyFile: without":              func(c *msgraph.Config) { c.KeyFile = "x" },
		"Config.Graph: must begin with https":  func(c *msgraph.Config) { c.Graph = "http://graph.microsoft.com" },
		"Config.Graph: want only":              func(c *msgraph.Config) { c.Graph = "https://graph.microsoft.com/beta" },
		"Config.Login: want only":              func(c *msgraph.Config) { c.Login = "https://tom:secret@login.example" },
		"Config.Login: must begin with https:": func(c *msgraph.Config) { c.Login = "ftp://127.0.0.1" },
		"Config.Timeout: -1ns is negative":     func(c *msgraph.Config) { c.Timeout = -1 },
		"Config.Lookups: -1 is negative":       func(c *msgraph.Config) { c.Lookups = -1 },
	} {
		cfg := good()
		change(&cfg)
		_, err := msgraph.New(cfg)
		require.ErrorContains(t, err, name)
	}
	cfg := good()
	cfg.Login, cfg.Graph = "http://127.0.0.1:8080/", "http://localhost:8080"
	app := newApp(t, cfg)
	_, err = app.NewCalendar(msgraph.CalendarConfig{Interval: -1, Past: 40 * 24 * time.Hour, Future: 40 * 24 * time.Hour, Schedules: "a b"})
	require.ErrorContains(t, err, "Interval")
	require.ErrorContains(t, err, "60 days")
	require.ErrorContains(t, err, "Schedules")
	teams, err := app.NewTeams(msgraph.TeamsConfig{Interval: time.Hour, Lifetime: time.Hour})
	require.ErrorContains(t, err, "Lifetime")
	require.Nil(t, teams)
	teams, err = app.NewTeams(msgraph.TeamsConfig{})
	require.NoError(t, err)
	_, err = teams.NewWriter(msgraph.WriterConfig{Lifetime: time.Minute})
	require.ErrorContains(t, err, "Lifetime")
	require.ErrorContains(t, app.CheckToken(context.Background()), "client secret", "the file is not there")
}
