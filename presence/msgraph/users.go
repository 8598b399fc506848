package msgraph

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// How long it is remembered who is who.
const (
	foundFor    = 24 * time.Hour
	notFoundFor = time.Hour
	maxUsers    = 100_000 // others are forgotten
	maxLookups  = 16      // requests under way at once
)

// users finds the object IDs that belong to mail addresses, and remembers them, and who does not
// exist.
type users struct {
	app   *App
	pace  pace
	slots chan struct{} // one element for each request under way

	mu    sync.Mutex
	known map[string]known
}

// known is what is known of an address.
type known struct {
	id    string
	err   error
	until time.Time
}

// id returns the object ID of the user with a mail address. The error is, or has, [ErrNotFound],
// [ErrAmbiguous] or [ErrForbidden] where asking again is pointless; it is remembered then.
func (u *users) id(ctx context.Context, mail string) (string, error) {
	mail = strings.ToLower(mail)
	u.mu.Lock()
	k, ok := u.known[mail]
	u.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.id, k.err
	}
	id, err := u.ask(ctx, mail)
	switch {
	case err == nil:
		u.remember(mail, known{id: id}, foundFor)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrAmbiguous):
		err = fmt.Errorf("%w: %s", err, mail)
		u.remember(mail, known{err: err}, notFoundFor)
	case errors.Is(err, ErrForbidden):
		u.remember(mail, known{err: err}, u.app.cfg.RefusedPause)
	}
	return id, err
}

// remember keeps k for d; for less where it keeps something bad, so that all of it does not end at
// once.
func (u *users) remember(mail string, k known, d time.Duration) {
	k.until = time.Now().Add(d - rand.N(d/10+1))
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.known) >= maxUsers {
		for other := range u.known { // any of them
			delete(u.known, other)
			break
		}
	}
	u.known[mail] = k
}

// user is what is asked for of one.
type user struct {
	ID string `json:"id"`
}

// ask looks for the user: the address may be the principal name; else it is looked for among the
// mail addresses.
func (u *users) ask(ctx context.Context, mail string) (string, error) {
	if !isAddress(mail) {
		return "", ErrNotFound
	}
	var one user
	err := u.get(ctx, call{url: "/v1.0/users/" + url.PathEscape(mail) + "?" + query("$select", "id")}, &one)
	if err == nil && one.ID != "" {
		return one.ID, nil
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	quoted := strings.ReplaceAll(mail, "'", "''")
	filter := "mail eq '" + quoted + "' or proxyAddresses/any(p:p eq 'smtp:" + quoted + "')"
	var list struct {
		Value []user `json:"value"`
	}
	search := call{url: "/v1.0/users?" + query("$filter", filter, "$select", "id")}
	err = u.get(ctx, search, &list)
	if e, ok := errors.AsType[*Error](err); ok && strings.EqualFold(e.Code, codeUnsupportedQuery) {
		// Some tenants take such a filter only where the answer may be a little old.
		search.url += "&" + query("$count", "true")
		search.header = http.Header{"Consistencylevel": {"eventual"}}
		err = u.get(ctx, search, &list)
	}
	if err != nil {
		return "", err
	}
	switch {
	case len(list.Value) == 0 || list.Value[0].ID == "":
		return "", ErrNotFound
	case len(list.Value) > 1:
		return "", ErrAmbiguous
	}
	return list.Value[0].ID, nil
}

func (u *users) get(ctx context.Context, c call, out any) error {
	c.method = http.MethodGet
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := u.pace.wait(ctx); err != nil {
		return err
	}
	err := u.app.do(ctx, c, out)
	if d := retryAfter(err); d > 0 {
		u.pace.hold(d)
	}
	return err
}

// isAddress reports whether s can be a mail address, or an object ID, and so one segment of a path.
func isAddress(s string) bool {
	return s != "" && len(s) <= 320 && strings.Trim(s, ".") != "" &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// query writes keys and values. Graph wants a space as %20.
func query(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pairs[i] + "=" + strings.ReplaceAll(url.QueryEscape(pairs[i+1]), "+", "%20"))
	}
	return b.String()
}
