package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/sipx"
)

// Defaults and bounds of [Config].
const (
	DefaultUserAgent        = "BluStar Go Client/3.2.1"
	DefaultSubscribeExpires = 300 * time.Second  // §4.1
	DefaultPublishExpires   = 3600 * time.Second // §4.3

	standardUserAgent = "Go Presence Client/3.2.1" // must not say BluStar: servers tell the dialect by it

	maxAddresses = 10_000
)

// Config is what a [Client] is made from. Sender, Server and Address are
// mandatory.
type Config struct {
	// Sender carries the client's requests: a stack. Its handler must be the
	// Client, or Mux where that is set.
	Sender sipx.Sender
	// Server is the Request-URI of requests outside a dialog, such as
	// sip:127.0.0.1:5060 or sip:presence.example.com;transport=tcp. Without Flow
	// and Route it is also where they are sent.
	Server sipx.URI
	// Flow is how to reach the server; all requests are sent over it. The zero
	// Flow leaves that to Route and the URI of the request.
	Flow sipx.Flow
	// Route is the route of requests outside a dialog: an SBC for example,
	// "<sip:192.0.2.2:5060;lr>" (§4.1).
	Route []string
	// Mux is the handler that this client shares with others. Where it is nil
	// the client has its own.
	Mux *Mux

	// Address is the user's own address, sip: or tel:. It is the From of all
	// requests, and the first that is subscribed to (§4.1).
	Address string
	// Contact is where the server sends NOTIFYs. The zero URI takes that of the
	// Sender, with ContactUser as its user part. Together with Address it tells
	// clients apart.
	Contact sipx.URI
	// ContactUser is the user part of the Contact, by default that of Address.
	// "fmc" marks an Aastra Mobile Client Controller (§2.11).
	ContactUser string
	// UserAgent names the client; by default [DefaultUserAgent]. A server that
	// has both dialects tells them by it.
	UserAgent string

	// Credentials answer challenges (§2.10). The client works with a copy, which
	// it wipes when it ends. The zero value has none: then a challenge makes the
	// call fail with [ErrUnauthorized].
	Credentials auth.Credentials
	// Cipher encrypts them for X-BSS-rauth; the vendor's (tuz) where it is nil.
	Cipher auth.Cipher

	// SubscribeExpires and PublishExpires are the lifetimes to ask for, in whole
	// seconds up to a day; by default 300 s and 3600 s. The server may grant
	// less, or make the client ask for more (423).
	SubscribeExpires, PublishExpires time.Duration
	// MaxNote is how many bytes a note may have, by default [aa.MaxNote], which is
	// what servers take unless they are configured otherwise.
	MaxNote int
	// Standard makes the client speak as the RFCs say instead of as BluStar.
	Standard bool

	// Notify is called for each accepted NOTIFY after it was answered, in order
	// for each subscription and one at a time, from a goroutine of the client. It
	// must be quick: after 2 s the next NOTIFY of the subscription is answered 503. It
	// must not wait for a call of the client. Where it is nil
	// [Client.Notifications] has them.
	Notify func(Notification)
	// PublicationLost is called where the client gave up keeping a publication
	// alive, and why: the server refused it. May be nil. It is called from a
	// goroutine of the client, and must not call Close or Abandon itself.
	PublicationLost func(error)
	// Waiting is called where the server answered 503 and said for how long, before the
	// call or refresh waits for that. May be nil. It must be quick.
	Waiting func(*StatusError)
	// Logger hears of what fails and what is tried again; nil discards it.
	Logger *slog.Logger
}

// complete fills in the defaults, checks, and returns the user's address.
func (cfg *Config) complete() (own sipx.URI, err error) {
	check := conf.Of("client: Config")
	check.Require("Sender", cfg.Sender != nil)
	check.Require("Server", cfg.Server.Host != "")
	own, err = address(cfg.Address)
	check.Fail("Address", err)
	if cfg.Cipher == nil {
		cfg.Cipher = auth.Tuz{}
	}
	if cfg.Standard {
		conf.Or(&cfg.UserAgent, standardUserAgent)
	}
	conf.Or(&cfg.UserAgent, DefaultUserAgent)
	cfg.SubscribeExpires, err = subscriber.Lifetime(cfg.SubscribeExpires, DefaultSubscribeExpires)
	check.Fail("SubscribeExpires", err)
	cfg.PublishExpires, err = subscriber.Lifetime(cfg.PublishExpires, DefaultPublishExpires)
	check.Fail("PublishExpires", err)
	conf.Default(check, "MaxNote", &cfg.MaxNote, aa.MaxNote)
	if strings.ContainsAny(cfg.UserAgent, "\r\n\x00") {
		check.Failf("UserAgent", "a line break")
	}
	if strings.ContainsAny(strings.Join(cfg.Route, ""), "\r\n\x00") {
		check.Failf("Route", "a line break")
	}
	conf.Or(&cfg.ContactUser, own.User)
	_, err = sipx.ParseURI("sip:" + cfg.ContactUser + "@host")
	check.Fail("ContactUser", err)
	check.Require("Contact", cfg.Contact.IsZero() || cfg.Contact.Host != "")
	conf.Or(&cfg.Logger, slog.New(slog.DiscardHandler))
	return own, check.Err()
}

// Client is one user on one device towards one server.
//
// It is safe for concurrent use; its calls are carried out one after the other.
// A call ends early, with the context's error, when its context does.
type Client struct {
	cfg  Config
	own  sipx.URI
	mux  *Mux
	log  *slog.Logger
	turn chan struct{} // one token: requests go one at a time
	call chan struct{} // one token: so do the calls below

	life context.Context // ends with the client
	end  context.CancelFunc
	wg   sync.WaitGroup // the subscriptions and the keepers

	notifications *mailbox
	publications  publications

	mu        sync.Mutex // guards what follows; never held while waiting
	self      *subscription
	list      *subscription
	addresses []string
	doubted   time.Time // when everything was last refreshed, or will be, as the server may have forgotten it
}

// New checks cfg and makes a Client. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	own, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg:           cfg,
		own:           own,
		mux:           cfg.Mux,
		log:           cfg.Logger.With("user", own.String()),
		turn:          make(chan struct{}, 1),
		call:          make(chan struct{}, 1),
		notifications: newMailbox(),
	}
	if c.mux == nil {
		c.mux = new(Mux)
	}
	if !cfg.Credentials.IsZero() {
		c.cfg.Credentials.Password = cfg.Credentials.Password.Clone()
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.publications.init(c)
	c.mux.join(c)
	return c, nil
}

// ServeSIP makes a client that is alone on its stack the stack's handler.
func (c *Client) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	c.mux.ServeSIP(ctx, w, req)
}

// FlowClosed implements [sipx.FlowObserver].
func (c *Client) FlowClosed(f sipx.Flow) { c.mux.FlowClosed(f) }

// begin starts one of the client's calls: it waits for its turn and returns the
// call's context, which ends with the client too, and what ends the call.
func (c *Client) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case c.call <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("client: waiting for another call: %w", ctx.Err())
	}
	if c.life.Err() != nil {
		<-c.call
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		<-c.call
	}, nil
}

// Close signs out (see [Client.SignOut]) for as long as ctx allows, and ends the
// client as [Client.Abandon] does. Later calls of it return nil.
func (c *Client) Close(ctx context.Context) error {
	err := c.SignOut(ctx)
	if errors.Is(err, ErrClosed) {
		err = nil
	}
	c.Abandon()
	return err
}

// Abandon ends the client without a word to the server, as if it had crashed:
// what it subscribed to and published lasts until it expires there. When it
// returns no goroutine of the client is left, and iterators have ended. It may
// be called more than once.
func (c *Client) Abandon() {
	c.end()
	c.call <- struct{}{} // a call under way ends with the client
	defer func() { <-c.call }()
	c.mux.leave(c)
	c.mu.Lock()
	c.self, c.list, c.addresses = nil, nil, nil
	c.mu.Unlock()
	c.wg.Wait()
	c.cfg.Credentials.Wipe()
	c.notifications.close()
}

// flowClosed is told that a connection of the stack is gone. Where it was ours
// the server has forgotten us (BSP-2.3-1), so all is refreshed now.
func (c *Client) flowClosed(f sipx.Flow) {
	held := c.subscriptions()
	if c.cfg.Flow == f || held.self != nil && held.self.Uses(f) || held.list != nil && held.list.Uses(f) {
		c.refreshNow(nil)
	}
}

// doubtPause is the least time between two doubts whether the server knows the client.
const doubtPause = 10 * time.Second

// forgotten is told that the server has forgotten a subscription, or a publication where
// s is nil, which began then. It may have been restarted, so the others are refreshed:
// now or, where that was done a moment ago, in a while. What is older than that was lost
// by the same restart.
func (c *Client) forgotten(s *subscription, began time.Time) {
	now := time.Now()
	c.mu.Lock()
	pause := max(0, doubtPause-now.Sub(c.doubted))
	if c.doubted.After(now) || pause > 0 && began.Before(c.doubted) {
		c.mu.Unlock()
		return
	}
	if pause > 0 {
		pause += rand.N(doubtPause / 2) // many clients of one server have the same doubt
	}
	c.doubted = now.Add(pause)
	c.mu.Unlock()
	if pause == 0 {
		c.refreshNow(s)
		return
	}
	c.wg.Go(func() {
		if backoff.Sleep(c.life, pause) == nil {
			c.refreshNow(s)
		}
	})
}

// found is told that s is there again, after it was lost without a word from the server.
// The others may have been lost too, and need not wait for their next try.
func (c *Client) found(s *subscription) {
	held := c.subscriptions()
	for _, o := range []*subscription{held.self, held.list} {
		if o != nil && o != s {
			o.Again()
		}
	}
	c.forgotten(s, time.Time{})
}

// refreshNow has everything refreshed that the client keeps alive, but for one.
func (c *Client) refreshNow(but *subscription) {
	if c.life.Err() != nil {
		return
	}
	held := c.subscriptions()
	for _, s := range []*subscription{held.self, held.list} {
		if s != nil && s != but {
			s.Soon(0)
		}
	}
	c.publications.refreshNow()
}

// contact is the value of Contact fields.
func (c *Client) contact() string {
	uri := c.cfg.Contact
	if uri.IsZero() {
		uri = subscriber.Contact(c.cfg.Sender, c.cfg.Flow, c.next(), c.cfg.ContactUser)
	}
	return sipx.Address{URI: uri}.String()
}

// next is where requests outside a dialog are sent without a flow.
func (c *Client) next() sipx.URI {
	if len(c.cfg.Route) > 0 {
		if first, err := sipx.ParseAddress(c.cfg.Route[0]); err == nil {
			return first.URI
		}
	}
	return c.cfg.Server
}

// requestURI is the Request-URI of a request about presentity outside a dialog:
// BluStar sends all to the server itself (§4.1), the RFCs name the resource.
func (c *Client) requestURI(presentity sipx.URI) sipx.URI {
	if c.cfg.Standard && presentity.Host != "" {
		return presentity
	}
	return c.cfg.Server
}

// route is the route of requests outside a dialog.
func (c *Client) route() []string {
	if c.cfg.Standard && len(c.cfg.Route) == 0 && c.cfg.Flow == (sipx.Flow{}) {
		next := c.cfg.Server
		next.Params += ";lr"
		return []string{sipx.Address{URI: next}.String()}
	}
	return c.cfg.Route
}

// domain is that of the user, or the server where the address has none.
func (c *Client) domain() string {
	if c.own.Host != "" {
		return c.own.Host
	}
	return c.cfg.Server.Host
}

// address parses an address that a user gave: a sip, sips or tel URI.
func address(s string) (sipx.URI, error) {
	uri, err := sipx.ParseURI(s)
	if err != nil {
		return sipx.URI{}, err
	}
	switch {
	case uri.Scheme == "tel", (uri.Scheme == "sip" || uri.Scheme == "sips") && uri.User != "":
		return uri, nil
	}
	return sipx.URI{}, fmt.Errorf("%q is neither a sip: address with a user part nor a tel: one", s)
}
