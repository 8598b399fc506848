package client_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfig(t *testing.T) {
	tests := []struct {
		want   string // in the error; empty where there is none
		change func(*client.Config)
	}{
		{"", func(*client.Config) {}},
		{"", func(c *client.Config) { c.Address = "tel:200" }},
		{"Sender", func(c *client.Config) { c.Sender = nil }},
		{"Server", func(c *client.Config) { c.Server = sipx.URI{} }},
		{"Address", func(c *client.Config) { c.Address = "" }},
		{"Address", func(c *client.Config) { c.Address = "tom@example.com" }},
		{"Address", func(c *client.Config) { c.Address = "sip:example.com" }},
		{"Address", func(c *client.Config) { c.Address = "mailto:tom@example.com" }},
		{"SubscribeExpires", func(c *client.Config) { c.SubscribeExpires = time.Millisecond }},
		{"SubscribeExpires", func(c *client.Config) { c.SubscribeExpires = 1500 * time.Millisecond }},
		{"PublishExpires", func(c *client.Config) { c.PublishExpires = 48 * time.Hour }},
		{"PublishExpires", func(c *client.Config) { c.PublishExpires = -time.Second }},
		{"line break", func(c *client.Config) { c.UserAgent = "x\r\nX: y" }},
		{"line break", func(c *client.Config) { c.Route = []string{"<sip:a>\r\nX: y"} }},
		{"ContactUser", func(c *client.Config) { c.ContactUser = "a b>" }},
		{"Contact", func(c *client.Config) { c.Contact = sipx.URI{Scheme: "tel", User: "200"} }},
	}
	for _, tt := range tests {
		cfg := config(nil)
		cfg.Sender = new(sipxtest.NullSender)
		tt.change(&cfg)
		c, err := client.New(cfg)
		if tt.want != "" {
			require.ErrorContains(t, err, tt.want)
			continue
		}
		require.NoError(t, err)
		c.Abandon()
		c.Abandon()
	}
}

func TestAddressesAreChecked(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.Error(t, c.Watch(t.Context(), "ann@example.com"))
		require.Error(t, c.Watch(t.Context(), "sip:ann@example.com\r\nX: y"))
		require.Error(t, c.Watch(t.Context(), make([]string, 20_000)...))
		_, err := c.Fetch(t.Context(), "")
		require.Error(t, err)
		require.Empty(t, s.seen(""))
	})
}

// The contact is reached over the transport of the first hop: an SBC's, where
// there is one (BSP-4-3).
func TestContactTransport(t *testing.T) {
	for _, c := range []struct{ server, route, want string }{
		{"", "", ""},
		{";transport=tcp", "", "tcp"},
		{"", "<sip:192.0.2.1:5060;lr;transport=TCP>", "tcp"},
		{";transport=tcp", "<sip:192.0.2.1:5060;lr>", ""},
	} {
		change := func(cfg *client.Config) {
			cfg.Server.Params = c.server
			if c.route != "" {
				cfg.Route = []string{c.route}
			}
		}
		run(t, change, func(t *testing.T, s *server, own *client.Client, _ *inbox) {
			require.NoError(t, own.Publish(t.Context(), client.Publication{}))
			contact, err := sipx.ParseAddress(s.seen("")[0].Header.Get("Contact"))
			require.NoError(t, err)
			got, _ := contact.URI.Param("transport")
			require.Equal(t, c.want, got)
		})
	}
}

// A contact of one's own, in front of a NAT for example.
func TestContact(t *testing.T) {
	change := func(cfg *client.Config) {
		cfg.Contact = sipx.URI{Scheme: "sip", User: "67251", Host: "203.0.113.9", Port: 5070, Params: ";transport=UDP"}
	}
	run(t, change, func(t *testing.T, s *server, c *client.Client, _ *inbox) {
		require.NoError(t, c.Publish(t.Context(), client.Publication{}))
		require.Equal(t, "<sip:67251@203.0.113.9:5070;transport=UDP>", s.seen("")[0].Header.Get("Contact"))
	})
}
