package msgraph

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/backoff"
)

// token is an access token of the client credentials grant (RFC 6749 §4.4).
type token struct {
	value   auth.Secret
	fetched time.Time
	renew   time.Time // a new one is asked for from here on
	expires time.Time
}

// tokens is the one source of tokens. Whatever the number of requests, one asks for a new token,
// and where that fails, nobody does again for a while.
type tokens struct {
	app  *App
	turn chan struct{} // holds an element while a token is asked for

	mu      sync.Mutex
	current token
	failure error     // of the last attempt; nil after one that succeeded
	retry   time.Time // when the next may be made after it
	refused [sha256.Size]byte
	pause   backoff.Backoff
}

// CheckToken asks for an access token, unless there is one: it tells whether the configuration is
// right.
func (a *App) CheckToken(ctx context.Context) error {
	_, err := a.tokens.get(ctx)
	return err
}

// get returns a token that is valid for some time yet.
func (t *tokens) get(ctx context.Context) (auth.Secret, error) {
	if v, ok := t.fresh(); ok {
		return v, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return auth.Secret{}, ctx.Err()
	}
	if v, ok := t.fresh(); ok { // while this one waited
		return v, nil
	}
	credential, err := t.app.readCredential()
	if err == nil {
		err = t.held(credential.digest())
	}
	var next token
	if err == nil {
		next, err = t.app.fetchToken(ctx, credential)
		if ctx.Err() != nil {
			return auth.Secret{}, ctx.Err() // says nothing about the service
		}
		t.note(next, err, credential.digest())
	}
	if err == nil {
		return next.value, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.current.expires) {
		return t.current.value, nil
	}
	return auth.Secret{}, err
}

// fresh returns the token where it needs no renewal.
func (t *tokens) fresh() (auth.Secret, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.value, time.Now().Before(t.current.renew)
}

// held returns the error of the last attempt, where it is too early for another. Other credentials
// than those that were refused are tried at once.
func (t *tokens) held(digest [sha256.Size]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := time.Until(t.retry)
	if t.failure == nil || left <= 0 || errors.Is(t.failure, ErrUnauthorized) && digest != t.refused {
		return nil
	}
	if e, ok := errors.AsType[*Error](t.failure); ok && !refusal(e) {
		again := *e
		again.RetryAfter = left
		return &again
	}
	return t.failure
}

// note keeps what an attempt brought.
func (t *tokens) note(next token, err error, digest [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		if t.failure != nil {
			t.app.cfg.Logger.Info("there is an access token again")
		}
		t.current, t.failure = next, nil
		t.pause.Reset()
		return
	case errors.Is(err, ErrUnauthorized):
		t.refused, t.retry = digest, time.Now().Add(t.app.cfg.RefusedPause)
	default:
		t.retry = time.Now().Add(max(t.pause.Next(), backoff.Beyond(retryAfter(err))))
	}
	if t.failure == nil || errors.Is(t.failure, ErrUnauthorized) != errors.Is(err, ErrUnauthorized) {
		t.app.cfg.Logger.Error("no access token", "error", err)
	}
	t.failure = err
}

// tokenAge is how old a token must be to be replaced because Graph refused it: a tenant that
// refuses each is asked for one a minute, however many mailboxes are watched.
const tokenAge = time.Minute

// drop forgets a token that Graph refused, and reports whether another can be had.
func (t *tokens) drop(refused auth.Secret) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !bytes.Equal(t.current.value.Reveal(), refused.Reveal()) {
		return true // somebody was faster
	}
	if time.Since(t.current.fetched) < tokenAge {
		return false
	}
	t.current = token{}
	return true
}

// The shortest and the longest life that a token is taken to have.
const (
	shortestToken = time.Minute
	longestToken  = 24 * time.Hour
)

// fetchToken asks the login service for a token.
func (a *App) fetchToken(ctx context.Context, c credential) (token, error) {
	endpoint := a.cfg.Login + "/" + url.PathEscape(a.cfg.Tenant) + "/oauth2/v2.0/token"
	form := url.Values{
		"client_id": {a.cfg.ClientID}, "scope": {a.cfg.Graph + "/.default"}, "grant_type": {"client_credentials"},
	}
	if err := c.prove(form, a.cfg.ClientID, endpoint, time.Now()); err != nil {
		return token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, errors.New("msgraph: malformed request for a token")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := a.send(req)
	if err != nil {
		return token{}, err
	}
	if answer.status != http.StatusOK {
		return token{}, tokenError(answer)
	}
	return readToken(answer.body, time.Now())
}

// readToken reads a successful answer (RFC 6749 §5.1).
func readToken(body []byte, now time.Time) (token, error) {
	var found struct {
		Type    string          `json:"token_type"`
		Value   string          `json:"access_token"`
		Expires json.RawMessage `json:"expires_in"` // some write it as a string
	}
	if json.Unmarshal(body, &found) != nil || !strings.EqualFold(found.Type, "Bearer") || !isToken(found.Value) {
		return token{}, errors.New("msgraph: the login service's answer is not one with a bearer token")
	}
	seconds, err := strconv.ParseInt(strings.Trim(string(found.Expires), `"`), 10, 64)
	if err != nil {
		return token{}, errors.New("msgraph: the access token has no lifetime")
	}
	life := min(max(time.Duration(min(seconds, int64(longestToken/time.Second)))*time.Second, shortestToken), longestToken)
	return token{
		value: auth.NewSecret([]byte(found.Value)), fetched: now,
		renew: now.Add(max(life*8/10, life-5*time.Minute)), expires: now.Add(life),
	}, nil
}

// isToken reports whether s can stand in an Authorization field.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// loginHints say what the commonest codes of the login service (AADSTS…) mean.
var loginHints = map[int]string{
	7000215: "wrong client secret",
	7000222: "the client secret has expired",
	700016:  "the tenant has no such application",
	700027:  "the certificate is not one of the application's",
	90002:   "no such tenant",
	900023:  "no such tenant",
}

// tokenError reads an error answer (RFC 6749 §5.2).
func tokenError(answer *answer) error {
	var found struct {
		Error string `json:"error"`
		Codes []int  `json:"error_codes"`
	}
	_ = json.Unmarshal(answer.body, &found) // the status counts
	e := answer.failure(plainCode(found.Error))
	for _, code := range found.Codes {
		if e.hint = loginHints[code]; e.hint != "" {
			break
		}
	}
	if rejected(e.Status) && found.Error != "temporarily_unavailable" {
		return fmt.Errorf("%w: %w", ErrUnauthorized, e)
	}
	return e
}
