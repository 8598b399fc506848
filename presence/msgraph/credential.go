package msgraph

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/openblustar/blustar/auth"
)

// credential proves to the login service who the application is: by a secret, or by a certificate.
type credential struct {
	secret      auth.Secret
	certificate *x509.Certificate
	key         *rsa.PrivateKey
}

// maxCredential bounds the files of a credential, in bytes.
const maxCredential = 64 << 10

// readCredential reads the files of the configuration.
func (a *App) readCredential() (credential, error) {
	if a.cfg.SecretFile != "" {
		secret, err := readSmall(a.cfg.SecretFile)
		if err == nil && len(bytes.TrimSpace(secret)) == 0 {
			err = fmt.Errorf("%s is empty", a.cfg.SecretFile)
		}
		if err != nil {
			return credential{}, fmt.Errorf("msgraph: client secret: %w", err)
		}
		return credential{secret: auth.NewSecret(bytes.TrimRight(secret, " \t\r\n"))}, nil
	}
	c, err := readPair(a.cfg.CertificateFile, a.cfg.KeyFile)
	if err != nil {
		return credential{}, fmt.Errorf("msgraph: certificate: %w", err)
	}
	return c, nil
}

func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err == nil && len(data) > maxCredential {
		err = fmt.Errorf("%s is too large", name)
	}
	return data, err
}

// readPair reads a certificate and its key.
func readPair(certificateFile, keyFile string) (c credential, err error) {
	data, err := readSmall(certificateFile)
	if err != nil {
		return c, err
	}
	block := findBlock(data, "CERTIFICATE")
	if block == nil {
		return c, fmt.Errorf("%s has no certificate in PEM", certificateFile)
	}
	if c.certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		return c, fmt.Errorf("%s: %w", certificateFile, err)
	}
	if data, err = readSmall(keyFile); err != nil {
		return c, err
	}
	defer clear(data)
	if c.key = readKey(data); c.key == nil {
		return c, fmt.Errorf("%s has no unencrypted RSA key in PEM", keyFile)
	}
	if !c.key.PublicKey.Equal(c.certificate.PublicKey) {
		return c, fmt.Errorf("the key of %s is not that of the certificate", keyFile)
	}
	if now := time.Now(); now.After(c.certificate.NotAfter) {
		return c, fmt.Errorf("%s has expired on %s", certificateFile, c.certificate.NotAfter.Format(time.DateOnly))
	}
	return c, nil
}

func findBlock(data []byte, kinds ...string) *pem.Block {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil
		}
		for _, kind := range kinds {
			if block.Type == kind {
				return block
			}
		}
	}
}

func readKey(data []byte) *rsa.PrivateKey {
	block := findBlock(data, "PRIVATE KEY", "RSA PRIVATE KEY")
	if block == nil {
		return nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	key, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
	k, _ := key.(*rsa.PrivateKey)
	return k
}

// digest tells one credential from another.
func (c credential) digest() [sha256.Size]byte {
	if c.certificate != nil {
		return sha256.Sum256(c.certificate.Raw)
	}
	return sha256.Sum256(c.secret.Reveal())
}

// prove puts the proof into a request for a token.
func (c credential) prove(form url.Values, client, endpoint string, now time.Time) error {
	if c.certificate == nil {
		form.Set("client_secret", string(c.secret.Reveal()))
		return nil
	}
	assertion, err := c.assertion(client, endpoint, now)
	if err != nil {
		return err
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return nil
}

// assertionLife is how long an assertion may be used.
const assertionLife = 5 * time.Minute

// assertion signs who the application is (RFC 7523 §3), by PS256 (RFC 7518 §3.5).
func (c credential) assertion(client, endpoint string, now time.Time) (string, error) {
	thumbprint := sha256.Sum256(c.certificate.Raw)
	encode := func(v any) string {
		data, _ := json.Marshal(v) // strings and numbers only
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := encode(map[string]string{
		"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint[:]),
	}) + "." + encode(map[string]any{
		"aud": endpoint, "iss": client, "sub": client, "jti": newID(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPSS(rand.Reader, c.key, crypto.SHA256, digest[:],
		&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return "", errors.New("msgraph: certificate: the key cannot sign")
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
