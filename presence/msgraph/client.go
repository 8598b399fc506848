package msgraph

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// call is a request to Graph.
type call struct {
	method string
	url    string // from the host on, or absolute where it is a link of an answer
	body   any    // written as JSON; nil: none
	header http.Header
}

// answer is what came back, read to its end.
type answer struct {
	op     string
	status int
	header http.Header
	body   []byte
}

// do sends a request with a token, and reads a successful answer into out, which may be nil. A
// token that is refused is replaced once.
func (a *App) do(ctx context.Context, c call, out any) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	for again := true; ; again = false {
		token, err := a.tokens.get(ctx)
		if err != nil {
			return err
		}
		req, err := a.request(ctx, c)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
		answer, err := a.send(req)
		switch {
		case err != nil:
			return err
		case answer.status == http.StatusUnauthorized && again && a.tokens.drop(token):
			continue
		case answer.status/100 != 2:
			return answer.graphError()
		case out == nil:
			return nil
		}
		if err := json.Unmarshal(answer.body, out); err != nil {
			return fmt.Errorf("msgraph: %s: the answer is not the JSON that was asked for (%s, %d bytes)",
				answer.op, mediaType(answer.header), len(answer.body))
		}
		return nil
	}
}

// request writes a request without its token.
func (a *App) request(ctx context.Context, c call) (*http.Request, error) {
	target := c.url
	if strings.HasPrefix(target, "/") {
		target = a.cfg.Graph + target
	}
	var body []byte
	if c.body != nil {
		body, _ = json.Marshal(c.body) // structs and maps of texts only
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("msgraph: malformed request")
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("client-request-id", newID())
	maps.Copy(req.Header, c.header)
	return req, nil
}

// send sends a request and reads the answer.
func (a *App) send(req *http.Request) (*answer, error) {
	op := req.Method + " " + req.URL.Path
	resp, err := a.http.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without its URL, which has the query
		}
		return nil, fmt.Errorf("msgraph: %s: %w", op, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, a.cfg.MaxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("msgraph: %s: %w", op, err)
	}
	if int64(len(body)) > a.cfg.MaxResponse {
		return nil, fmt.Errorf("%w: the answer to %s is larger than %d bytes", ErrLimit, op, a.cfg.MaxResponse)
	}
	return &answer{op: op, status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// link checks the URL of a next page. It is followed on the host of Graph only, which alone gets
// the token.
func (a *App) link(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || !strings.EqualFold(u.Scheme+"://"+u.Host, a.cfg.Graph) {
		return "", errors.New("msgraph: the next page is on another host")
	}
	return s, nil
}

// failure is the answer as an error.
func (a *answer) failure(code string) *Error {
	now := time.Now()
	if date, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = date
	}
	return &Error{
		Op: a.op, Status: a.status, Code: code, RequestID: plainCode(a.header.Get("request-id")),
		RetryAfter: backoff.RetryAfter(a.header.Get("Retry-After"), now),
	}
}

// graphError reads the error that Graph answered. A body that is none, such as a page of a gateway,
// leaves the status.
func (a *answer) graphError() *Error {
	var found struct {
		Error errorBody `json:"error"`
	}
	_ = json.Unmarshal(a.body, &found)
	e := a.failure(plainCode(found.Error.detailed()))
	if e.RequestID == "" && found.Error.Inner != nil {
		e.RequestID = plainCode(found.Error.Inner.RequestID)
	}
	return e
}

// errorBody is an error, with another one inside that may say more. Keys are found whatever their
// case is.
type errorBody struct {
	Code      string     `json:"code"`
	RequestID string     `json:"request-id"`
	Inner     *errorBody `json:"innerError"`
}

// detailed returns the innermost code that is known, else the outermost.
func (b *errorBody) detailed() string {
	code := b.Code
	for inner := b.Inner; inner != nil; inner = inner.Inner {
		if slices.ContainsFunc(errorCodes, func(known string) bool { return strings.EqualFold(known, inner.Code) }) {
			code = inner.Code
		}
	}
	return code
}

// plainCode returns s where it is what a code or an ID looks like, so that it can stand in an
// error.
func plainCode(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-", r)
	}
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return ""
	}
	return s
}

func mediaType(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.TrimSpace(kind)
	if kind == "" || plainCode(strings.ReplaceAll(kind, "/", "")) == "" {
		return "unknown type"
	}
	return kind
}

// newID returns a random UUID (RFC 9562 §5.4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
