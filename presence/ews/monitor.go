package ews

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/presence"
)

// Monitor watches mailboxes. It is safe for concurrent use. It has goroutines and
// connections only while mailboxes are watched.
type Monitor struct {
	cfg     Config
	style   style
	account *account
	pace    *pace
	hub     *hub
	poller  *calendar.Poller
	lookup  func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)

	mu      sync.Mutex
	running int // calls of MonitorCalendar
	servers map[string]*server
	found   map[string]location // by autodiscover
}

// maxRemembered bounds the mailboxes of which something is kept between calls.
const maxRemembered = 10_000

var _ presence.CalendarMonitor = (*Monitor)(nil)

// New checks the configuration. It sends nothing.
func New(cfg Config) (*Monitor, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	m := &Monitor{
		cfg:     cfg,
		style:   style{elsewhere: cfg.WorkingElsewhere, personal: cfg.PersonalIsPrivate, online: cfg.OnlineLocation},
		account: newAccount(cfg.Credentials, cfg.RefusedPause),
		pace:    &pace{every: time.Second / time.Duration(cfg.Limits.Rate)},
		lookup:  net.DefaultResolver.LookupSRV,
		servers: make(map[string]*server),
		found:   make(map[string]location),
	}
	polls := cfg.Limits.Requests
	if cfg.Access == Availability { // they wait for each other
		polls = cfg.Limits.Requests * cfg.Limits.Batch
	}
	m.poller = calendar.NewPoller(calendar.Polling{
		Interval: cfg.Interval, Timeout: cfg.Timeout, Failures: cfg.Failures, Polls: polls,
		Past: cfg.Past, Future: cfg.Future, Appointments: cfg.Limits.Appointments, Logger: cfg.Logger,
	})
	m.hub = &hub{cfg: &m.cfg, log: m.cfg.Logger}
	return m, nil
}

// MonitorCalendar watches the calendar of a mailbox until ctx ends. It calls update
// at each interval, also where nothing has changed: that moves the window and renews
// the lifetime, which is as long as failing polls are tolerated. The server is asked
// only where the stream of notifications does not tell that nothing has changed. For
// a server that says when to come back it waits, up to an hour at a time, whether or
// not a value is known or lasts that long. The error is that of ctx, an [*Error], a
// [*StatusError], one of the errors of this package, or one of the network's.
func (m *Monitor) MonitorCalendar(ctx context.Context, mail string, update func(presence.CalendarState)) error {
	if err := checkMail(mail); err != nil {
		return err
	}
	m.enter()
	defer m.exit()
	box := &mailbox{monitor: m, mail: mail, log: m.cfg.Logger.With("mailbox", mail), wake: make(chan struct{}, 1)}
	defer box.leave()
	return m.poller.Watch(ctx, mail, box.wake, update, box.poll)
}

// checkMail refuses what could not be sent as it is.
func checkMail(mail string) error {
	at := strings.LastIndexByte(mail, '@')
	odd := strings.ContainsFunc(mail, func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII && !unicode.IsPrint(r) || r == 0x7F })
	if at < 1 || at == len(mail)-1 || len(mail) > 320 || odd {
		return fmt.Errorf("%w: %.100q is no mail address", ErrNoMailbox, mail)
	}
	return nil
}

// enter notes that one more mailbox is watched, exit that one is not any more.
func (m *Monitor) enter() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running++
}

func (m *Monitor) exit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running--; m.running == 0 {
		for _, s := range m.servers {
			s.close()
		}
	}
}

// server returns the server of a URL. what tells servers of autodiscover, which
// have refusals of their own, from others.
func (m *Monitor) server(what string, u *url.URL) (*server, error) {
	key := what + " " + u.String()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.servers[key]
	if s == nil {
		if len(m.servers) >= maxServers {
			return nil, fmt.Errorf("%w: more than %d servers", ErrLimit, maxServers)
		}
		a := m.account
		if what != "" {
			a = newAccount(m.cfg.Credentials, m.cfg.RefusedPause)
		}
		s = newServer(m, u, a)
		m.servers[key] = s
	}
	return s, nil
}

const maxServers = 256
