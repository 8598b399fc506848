package caldav

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	webdav "github.com/emersion/go-webdav/caldav"
)

const (
	// wellKnown is where a server says where its CalDAV is (RFC 6764 §5).
	wellKnown = "/.well-known/caldav"
	// maxDiscoveryBytes bounds each answer of discovery.
	maxDiscoveryBytes = 256 << 10
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
	dav, principal, err := findPrincipal(ctx, &small, start)
	if err != nil {
		return nil, nil, err
	}
	home, err := dav.FindCalendarHomeSet(ctx, principal)
	if err != nil {
		return nil, nil, fmt.Errorf("caldav: calendar-home-set: %w", err)
	}
	found, err := dav.FindCalendars(ctx, home)
	if err != nil {
		return nil, nil, fmt.Errorf("caldav: calendars: %w", err)
	}
	for _, f := range found {
		// A server that does not say what a calendar may hold lets it hold all.
		if len(f.SupportedComponentSet) == 0 || slices.ContainsFunc(f.SupportedComponentSet, isEvent) {
			calendars = append(calendars, start.ResolveReference(&url.URL{Path: f.Path}))
		}
	}
	// Only some servers know the addresses. Without them, the mailbox is one.
	addresses, err = findAddresses(ctx, &small, start.ResolveReference(&url.URL{Path: principal}))
	if err != nil {
		return calendars, nil, ctx.Err()
	}
	return calendars, addresses, nil
}

func isEvent(component string) bool { return strings.EqualFold(component, "VEVENT") }

// findPrincipal asks at the URL and, where that does not know, at the well-known
// one.
func findPrincipal(ctx context.Context, c *client, start *url.URL) (*webdav.Client, string, error) {
	var first error
	for _, u := range []*url.URL{start, start.ResolveReference(&url.URL{Path: wellKnown})} {
		dav, err := webdav.NewClient(c, u.String())
		if err != nil {
			return nil, "", fmt.Errorf("caldav: %w", err)
		}
		principal, err := dav.FindCurrentUserPrincipal(ctx)
		if err == nil && principal != "" {
			return dav, principal, nil
		}
		if err == nil {
			err = errors.New("no current-user-principal")
		}
		if first == nil {
			first = fmt.Errorf("caldav: current-user-principal: %w", err)
		}
		if errors.Is(err, ErrUnauthorized) || retryAfter(err) > 0 || ctx.Err() != nil {
			break
		}
	}
	return nil, "", first
}

// findAddresses reads calendar-user-address-set (RFC 6638 §2.4.1).
func findAddresses(ctx context.Context, c *client, principal *url.URL) ([]string, error) {
	body, err := c.send(ctx, "PROPFIND", principal, "0", askAddresses)
	if err != nil {
		return nil, err
	}
	var addresses []string
	_, err = readMultiStatus(body, 1, func(r *response) error {
		for _, set := range r.found().Addresses {
			for _, href := range set.Hrefs {
				if strings.Contains(href, "@") && len(addresses) < maxAddresses {
					addresses = append(addresses, normalAddress(href))
				}
			}
		}
		return nil
	})
	return addresses, err
}

const maxAddresses = 64
