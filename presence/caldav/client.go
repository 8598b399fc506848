package caldav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/loopback"
)

// client sends the requests for one mailbox. Every answer that it returns is a
// success with a bounded body.
type client struct {
	http        *http.Client // follows no redirections itself
	credentials Credentials
	allowHTTP   bool
	maxBody     int64
	log         *slog.Logger
}

func newClient(cfg *Config, credentials Credentials) *client {
	var h http.Client
	if cfg.HTTPClient != nil {
		h = *cfg.HTTPClient
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &h, credentials: credentials, allowHTTP: cfg.AllowHTTP, maxBody: cfg.Limits.ResponseBytes,
		log: cfg.Logger}
}

const maxRedirects = 4

// Do sends a request. Redirections keep method and body, which net/http does
// for some of them only, and stay on the host, which then also gets the
// credentials.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	for range maxRedirects + 1 {
		if err := c.authorize(req); err != nil {
			return nil, err
		}
		resp, err := c.http.Do(req)
		if err != nil {
			if failed, ok := errors.AsType[*url.Error](err); ok {
				err = failed.Err // without its URL, which has the query
			}
			return nil, fmt.Errorf("caldav: %s %s: %w", req.Method, plain(req.URL), err)
		}
		if resp.StatusCode/100 == 2 {
			resp.Body = &boundedBody{resp.Body, c.maxBody}
			return resp, nil
		}
		resp.Body.Close()
		next, err := redirected(req, resp)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return nil, statusError(req, resp)
		}
		req = next
	}
	return nil, fmt.Errorf("caldav: %s %s: too many redirections", req.Method, plain(req.URL))
}

func (c *client) authorize(req *http.Request) error {
	if c.credentials.User == "" {
		return nil
	}
	if req.URL.Scheme != "https" && !c.allowHTTP && !loopback.Is(req.URL.Hostname()) {
		return fmt.Errorf("%w: %s is not encrypted", ErrInsecure, plain(req.URL))
	}
	req.SetBasicAuth(c.credentials.User, string(c.credentials.Password.Reveal()))
	return nil
}

// redirected returns the request to send next, or nil where resp is no
// redirection.
func redirected(req *http.Request, resp *http.Response) (*http.Request, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	to, err := resp.Location()
	if err != nil {
		return nil, statusError(req, resp)
	}
	if !sameHost(req.URL, to) {
		return nil, fmt.Errorf("%w: %s redirects to another host", ErrInsecure, plain(req.URL))
	}
	next := req.Clone(req.Context())
	next.URL, next.Host = to, ""
	if req.GetBody != nil {
		if next.Body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("caldav: %w", err)
		}
	}
	return next, nil
}

// sameHost reports whether to is on the same host and port as from, or the same
// host turned to TLS.
func sameHost(from, to *url.URL) bool {
	if from.Scheme == to.Scheme {
		return strings.EqualFold(from.Host, to.Host)
	}
	return from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(from.Hostname(), to.Hostname())
}

func statusError(req *http.Request, resp *http.Response) error {
	e := &StatusError{Method: req.Method, URL: plain(req.URL), Status: resp.StatusCode}
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	e.RetryAfter = backoff.RetryAfter(resp.Header.Get("Retry-After"), now)
	return e
}

// plain writes a URL for errors and logs.
func plain(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// send sends an XML request and returns the answer, which must be a
// multi-status, and the URL that gave it.
func (c *client) send(ctx context.Context, method string, u *url.URL, depth, body string) (io.ReadCloser, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(body))
	if err != nil {
		return nil, nil, errors.New("caldav: malformed request")
	}
	req.Header.Set("Content-Type", `application/xml; charset="utf-8"`)
	req.Header.Set("Depth", depth)
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusMultiStatus {
		resp.Body.Close()
		return nil, nil, statusError(req, resp)
	}
	if resp.Request != nil {
		u = resp.Request.URL
	}
	decoded, err := decodedBody(resp)
	return decoded, u, err
}

// propfind reads properties, and calls each with each response and the URL that gave
// them. The URL of a collection ends in a slash, but people forget it, and not all
// servers do without (RFC 4918 §5.2): it is tried too.
func (c *client) propfind(ctx context.Context, u *url.URL, depth, ask string, max int, each func(*url.URL, *response)) error {
	body, at, err := c.send(ctx, "PROPFIND", u, depth, ask)
	if e, ok := errors.AsType[*StatusError](err); ok && !strings.HasSuffix(u.Path, "/") && ofOne(err) && e.Status != http.StatusUnauthorized {
		if other, otherAt, again := c.send(ctx, "PROPFIND", u.JoinPath("/"), depth, ask); again == nil {
			body, at, err = other, otherAt, nil
		}
	}
	if err != nil {
		return err
	}
	_, err = readMultiStatus(body, max, func(r *response) error {
		each(at, r)
		return nil
	})
	return err
}

// boundedBody is a body that fails, rather than ends, at the bound.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("%w: response too large", ErrLimit)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, fmt.Errorf("%w: response too large", ErrLimit)
	}
	return n, err
}
