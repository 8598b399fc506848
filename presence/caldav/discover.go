package caldav

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const (
	// wellKnown is where a server says where its CalDAV is (RFC 6764 §5).
	wellKnown = "/.well-known/caldav"
	// maxDiscoveryBytes bounds each answer of discovery.
	maxDiscoveryBytes = 1 << 20
	maxHomes          = 8    // calendar homes of a principal
	maxMembers        = 1000 // collections and objects of a home
	maxAddresses      = 64
)

// discover finds the calendars of the user of the client's credentials, and
// the addresses under which that user is invited.
func discover(ctx context.Context, c *client, base string) (calendars []*url.URL, addresses []string, err error) {
	start, err := parseURL(base)
	if err != nil {
		return nil, nil, fmt.Errorf("caldav: URL: %w", err)
	}
	small := *c
	small.maxBody = min(c.maxBody, maxDiscoveryBytes)
	principal, err := findPrincipal(ctx, &small, start)
	if err != nil {
		return nil, nil, err
	}
	homes, addresses, err := findHomes(ctx, &small, principal)
	if err != nil {
		return nil, nil, fmt.Errorf("caldav: calendar-home-set: %w", err)
	}
	var failed error
	for _, home := range homes {
		found, err := findCalendars(ctx, &small, home)
		switch {
		case err == nil:
			for _, u := range found {
				if !slices.ContainsFunc(calendars, func(k *url.URL) bool { return *k == *u }) {
					calendars = append(calendars, u)
				}
			}
		case ctx.Err() == nil && ofOne(err) && !errors.Is(err, ErrUnauthorized):
			c.log.Warn("a calendar home is left out", "home", home.Path, "error", err)
			failed = err
		default:
			return nil, nil, fmt.Errorf("caldav: calendars: %w", err)
		}
	}
	if len(calendars) == 0 && failed != nil {
		return nil, nil, fmt.Errorf("caldav: calendars: %w", failed)
	}
	return calendars, addresses, nil
}

// findPrincipal asks at the URL and, where that does not know, at the well-known one.
func findPrincipal(ctx context.Context, c *client, start *url.URL) (*url.URL, error) {
	var first error
	for _, u := range []*url.URL{start, start.ResolveReference(&url.URL{Path: wellKnown})} {
		principal, err := principalAt(ctx, c, u)
		if err == nil {
			return principal, nil
		}
		if first == nil {
			first = fmt.Errorf("caldav: current-user-principal: %w", err)
		}
		if errors.Is(err, ErrUnauthorized) || retryAfter(err) > 0 || ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// principalAt reads current-user-principal (RFC 5397). That there is none is an
// [ErrNoCalendar].
func principalAt(ctx context.Context, c *client, u *url.URL) (principal *url.URL, err error) {
	err = c.propfind(ctx, u, "0", askPrincipal, 1, func(at *url.URL, r *response) {
		principal = hrefOn(at, r.found().Principal.Href)
	})
	if err == nil && principal == nil {
		err = ErrNoCalendar
	}
	return principal, err
}

// findHomes reads calendar-home-set (RFC 4791 §6.2.1), and calendar-user-address-set
// (RFC 6638 §2.4.1), which only some servers have.
func findHomes(ctx context.Context, c *client, principal *url.URL) (homes []*url.URL, addresses []string, err error) {
	err = c.propfind(ctx, principal, "0", askHomes, 1, func(at *url.URL, r *response) {
		p := r.found()
		for _, href := range p.Homes.Hrefs {
			if u := hrefOn(at, href); u != nil && len(homes) < maxHomes {
				homes = append(homes, u)
			}
		}
		for _, href := range p.Addresses.Hrefs {
			if strings.Contains(href, "@") && len(addresses) < maxAddresses {
				addresses = append(addresses, normalAddress(href))
			}
		}
	})
	if err == nil && len(homes) == 0 {
		err = ErrNoCalendar
	}
	return homes, addresses, err
}

// findCalendars returns the calendars in a home that may hold events. Those that the
// server does not let us see are left out: each response stands alone
// (RFC 4918 §14.24).
func findCalendars(ctx context.Context, c *client, home *url.URL) (calendars []*url.URL, err error) {
	err = c.propfind(ctx, home, "1", askCalendars, maxMembers, func(at *url.URL, r *response) {
		p := r.found()
		u := hrefOn(at, r.Href)
		// A server that does not say what a calendar may hold lets it hold all.
		if u != nil && p.Type.Calendar != nil && (len(p.Components) == 0 || slices.ContainsFunc(p.Components, holds.events)) {
			calendars = append(calendars, u)
		}
	})
	return calendars, err
}

func (c holds) events() bool { return strings.EqualFold(c.Name, compEvent) }

// hrefOn returns the URL of an href in an answer from base; nil where it is none, or
// on another host. Servers behind a proxy may not know by which scheme and port they
// are reached: those of base are kept.
func hrefOn(base *url.URL, href string) *url.URL {
	href = strings.TrimSpace(href)
	if href == "" {
		return nil
	}
	u, err := base.Parse(href)
	if err != nil || !strings.EqualFold(u.Hostname(), base.Hostname()) || u.Path == "" {
		return nil
	}
	return &url.URL{Scheme: base.Scheme, Host: base.Host, Path: u.Path, RawPath: u.RawPath}
}
