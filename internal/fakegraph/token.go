package fakegraph

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// token is the token end point (RFC 6749 §4.4).
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	problem, code := "", 0
	switch {
	case r.Method != http.MethodPost || r.ParseForm() != nil || r.PostForm.Get("grant_type") != "client_credentials":
		problem, code = "unsupported_grant_type", 70003
	case r.PostForm.Get("client_id") != s.ClientID:
		problem, code = "unauthorized_client", 700016
	case !strings.HasSuffix(r.PostForm.Get("scope"), "/.default"):
		problem, code = "invalid_scope", 70011
	case s.Certificate != nil:
		if err := s.checkAssertion(r); err != nil {
			problem, code = "invalid_client", 700027
		}
	case r.PostForm.Get("client_secret") != s.Secret:
		problem, code = "invalid_client", 7000215
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if problem != "" {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]any{
			// As a proxy would, it repeats what it was sent.
			"error": problem, "error_description": fmt.Sprintf("AADSTS%d: refused: %s", code, r.PostForm.Encode()), "error_codes": []int{code},
		})
		return
	}
	life := s.TokenLife
	if life == 0 {
		life = time.Hour
	}
	value := "tok." + rand.Text()
	s.mu.Lock()
	s.tokens[value] = time.Now().Add(life)
	s.issued++
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token_type": "Bearer", "expires_in": int(life / time.Second), "ext_expires_in": int(life / time.Second), "access_token": value,
	})
}

// checkAssertion checks an assertion as Entra does: PS256 and the SHA-256 of the certificate, for
// this end point, of this application, at most ten minutes.
func (s *Server) checkAssertion(r *http.Request) error {
	if r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || r.PostForm.Has("client_secret") {
		return errors.New("no assertion")
	}
	parts := strings.Split(r.PostForm.Get("client_assertion"), ".")
	if len(parts) != 3 {
		return errors.New("no JWT")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	key, _ := s.Certificate.PublicKey.(*rsa.PublicKey)
	if err := rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		return err
	}
	var header struct {
		Alg, Typ   string
		Thumbprint string `json:"x5t#S256"`
	}
	var claims struct {
		Aud, Iss, Sub, Jti string
		Nbf, Iat, Exp      int64
	}
	for i, v := range []any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, v); err != nil {
			return err
		}
	}
	print := sha256.Sum256(s.Certificate.Raw)
	now := time.Now().Unix()
	if header.Alg != "PS256" || header.Typ != "JWT" || header.Thumbprint != base64.RawURLEncoding.EncodeToString(print[:]) ||
		claims.Aud != origin(r)+r.URL.Path || claims.Iss != s.ClientID || claims.Sub != s.ClientID || !uuid.MatchString(claims.Jti) ||
		claims.Nbf > now || claims.Iat > now || claims.Exp < now || claims.Exp > now+600 {
		return errors.New("wrong claims")
	}
	return nil
}
