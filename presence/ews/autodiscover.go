package ews

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Namespaces of autodiscover (POX).
const (
	nsDiscover = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
	nsSettings = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
)

const (
	locationTime = 24 * time.Hour // how long what autodiscover said is good
	maxSteps     = 10             // redirections
)

// location is where a mailbox is.
type location struct {
	url      *url.URL
	grouping string // mailboxes with the same are on servers that share subscriptions
	until    time.Time
}

// locate returns the server of a mailbox.
func (m *Monitor) locate(ctx context.Context, mail string) (*server, string, error) {
	if m.cfg.URL != "" {
		u, err := m.cfg.parseURL(m.cfg.URL)
		if err != nil {
			return nil, "", err
		}
		s, err := m.server("", u)
		return s, "", err
	}
	now := time.Now()
	m.mu.Lock()
	l, ok := m.found[mail]
	m.mu.Unlock()
	if !ok || !now.Before(l.until) {
		d := discovery{monitor: m, seen: make(map[string]bool)}
		var err error
		if l, err = d.find(ctx, mail); err != nil {
			return nil, "", err
		}
		l.until = now.Add(locationTime)
		m.mu.Lock()
		if len(m.found) >= maxRemembered {
			clear(m.found)
		}
		m.found[mail] = l
		m.mu.Unlock()
	}
	s, err := m.server("", l.url)
	return s, l.grouping, err
}

// forget has a mailbox looked for anew.
func (m *Monitor) forget(mail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.found, mail)
}

// trusted reports whether a host is in one of the domains.
func (c *Config) trusted(host string) bool {
	for _, d := range c.Autodiscover {
		if strings.EqualFold(host, d) || len(host) > len(d) && strings.EqualFold(host[len(host)-len(d)-1:], "."+d) {
			return true
		}
	}
	return false
}

// discovery is one search. Nothing is asked twice.
type discovery struct {
	monitor *Monitor
	seen    map[string]bool
	steps   int
}

// settings is an answer of autodiscover.
type settings struct {
	XMLName  xml.Name
	Response struct {
		XMLName xml.Name
		Error   *struct {
			Code    string `xml:"ErrorCode"`
			Message string
		}
		Account struct {
			Action       string
			RedirectAddr string
			RedirectURL  string `xml:"RedirectUrl"`
			Protocols    []struct {
				Type     string
				EwsURL   string `xml:"EwsUrl"`
				Grouping string `xml:"GroupingInformation"`
			} `xml:"Protocol"`
		}
	}
}

// find looks for a mailbox by way of its domain.
func (d *discovery) find(ctx context.Context, mail string) (location, error) {
	domain := mail[strings.LastIndexByte(mail, '@')+1:]
	if !d.monitor.cfg.trusted(domain) {
		return location{}, fmt.Errorf("%w: %s is in no domain of Autodiscover", ErrInsecure, mail)
	}
	var problems []error
	for _, next := range []func() (string, error){
		func() (string, error) { return "https://" + domain + autodiscoverPath, nil },
		func() (string, error) { return "https://autodiscover." + domain + autodiscoverPath, nil },
		func() (string, error) { return d.redirection(ctx, "http://autodiscover."+domain+autodiscoverPath) },
		func() (string, error) { return d.record(ctx, domain) },
	} {
		address, err := next()
		var l location
		if err == nil {
			l, err = d.ask(ctx, address, mail)
		}
		switch {
		case ctx.Err() != nil:
			return location{}, ctx.Err()
		case err == nil:
			return l, nil
		}
		problems = append(problems, err)
	}
	return location{}, fmt.Errorf("%w for %s: %w", ErrNotFound, mail, errors.Join(problems...))
}

const autodiscoverPath = "/autodiscover/autodiscover.xml"

// step notes that something is asked for.
func (d *discovery) step(what string) error {
	if d.steps++; d.steps > maxSteps || d.seen[what] {
		return fmt.Errorf("ews: autodiscover leads in circles: %.200s", what)
	}
	d.seen[what] = true
	return nil
}

// ask asks at one address, with credentials: https, and a host that is trusted.
func (d *discovery) ask(ctx context.Context, address, mail string) (location, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || !d.monitor.cfg.trusted(u.Hostname()) {
		return location{}, fmt.Errorf("%w: autodiscover leads to %.200q", ErrInsecure, address)
	}
	if err := d.step(u.String() + " " + mail); err != nil {
		return location{}, err
	}
	s, err := d.monitor.server("autodiscover", u)
	if err != nil {
		return location{}, err
	}
	body := `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="` + nsDiscover + `"><Request><EMailAddress>` +
		escape(mail) +
		`</EMailAddress><AcceptableResponseSchema>` + nsSettings + `</AcceptableResponseSchema></Request></Autodiscover>`
	var answer settings
	var to string
	err = s.exchange(ctx, "", func(ctx context.Context, l *lane) error {
		resp, err := l.do(ctx, u, newHeader(), body)
		if err != nil {
			return err
		}
		defer drain(resp)
		if resp.StatusCode != http.StatusOK {
			failed := statusError("Autodiscover", u, resp)
			if l, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
				to = l.String()
				return nil
			}
			return failed
		}
		if err := newDecoder(&boundedReader{from: resp.Body, left: 1 << 20}).Decode(&answer); err != nil {
			return fmt.Errorf("%w: autodiscover: %w", ErrAnswer, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return location{}, err
	case to != "":
		return d.ask(ctx, to, mail)
	}
	return d.read(ctx, &answer, mail)
}

// read takes the server from an answer, or follows it elsewhere.
func (d *discovery) read(ctx context.Context, s *settings, mail string) (location, error) {
	if e := s.Response.Error; e != nil {
		kind := ErrAnswer
		if strings.TrimSpace(e.Code) == "500" {
			kind = ErrNoMailbox
		}
		return location{}, fmt.Errorf("%w: autodiscover: error %.20s: %.200q", kind, e.Code, e.Message)
	}
	a := &s.Response.Account
	switch strings.TrimSpace(a.Action) {
	case "redirectAddr":
		to := strings.ToLower(strings.TrimSpace(a.RedirectAddr))
		if err := checkMail(to); err != nil {
			return location{}, err
		}
		if err := d.step(to); err != nil {
			return location{}, err
		}
		return d.find(ctx, to)
	case "redirectUrl":
		return d.ask(ctx, strings.TrimSpace(a.RedirectURL), mail)
	}
	first, second := "EXPR", "EXCH"
	if d.monitor.cfg.Internal {
		first, second = second, first
	}
	var l location
	for _, kind := range []string{second, first} {
		for _, p := range a.Protocols {
			if g := strings.TrimSpace(p.Grouping); g != "" {
				l.grouping = cut(g, 256)
			}
			if strings.TrimSpace(p.Type) != kind || strings.TrimSpace(p.EwsURL) == "" {
				continue
			}
			u, err := url.Parse(strings.TrimSpace(p.EwsURL))
			if err != nil || u.Scheme != "https" || u.User != nil || !d.monitor.cfg.trusted(u.Hostname()) {
				return location{}, fmt.Errorf("%w: autodiscover names %.200q", ErrInsecure, p.EwsURL)
			}
			l.url = u
		}
	}
	if l.url == nil {
		return location{}, fmt.Errorf("%w: autodiscover names no address of EWS", ErrAnswer)
	}
	return l, nil
}

// redirection asks without credentials where to go.
func (d *discovery) redirection(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.monitor.cfg.Timeout)
	defer cancel()
	transport := &http.Transport{DialContext: d.monitor.cfg.Dial, Proxy: d.monitor.cfg.proxy, DisableKeepAlives: true,
		MaxResponseHeaderBytes: 64 << 10}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("ews: autodiscover: %w", err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusFound {
		return "", statusError("Autodiscover", req.URL, resp)
	}
	return to.String(), nil
}

// record returns what the DNS says (SRV).
func (d *discovery) record(ctx context.Context, domain string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.monitor.cfg.Timeout)
	defer cancel()
	_, records, err := d.monitor.lookup(ctx, "autodiscover", "tcp", domain)
	if err != nil {
		return "", fmt.Errorf("ews: autodiscover: %w", err)
	}
	if len(records) == 0 {
		return "", fmt.Errorf("%w: no SRV record of %s", ErrNotFound, domain)
	}
	host := strings.TrimSuffix(records[0].Target, ".")
	if port := records[0].Port; port != 443 {
		host += ":" + strconv.Itoa(int(port))
	}
	return "https://" + host + autodiscoverPath, nil
}
