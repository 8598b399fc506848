package main

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/auth"
)

// transports that can be listened on; those with TLS are the last two.
var transports = []string{"udp", "tcp", "ws", "tls", "wss"}

func isSecure(transport string) bool { return transport == "tls" || transport == "wss" }

// check finds what is wrong with the values, the first thing only. The error is
// a *fieldError.
func (c *config) check() error {
	for _, check := range []func() error{c.checkListen, c.checkChoices, c.checkLimits, c.checkDirectory, c.checkStore, c.checkHTTP} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *config) checkListen() error {
	if len(c.Listen) == 0 {
		return &fieldError{"listen", "empty: want at least one, such as \"udp:127.0.0.1:5060\""}
	}
	for i, l := range c.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		transport, address, _ := strings.Cut(l, ":")
		if !slices.Contains(transports, transport) {
			return &fieldError{key, fmt.Sprintf("%q: want udp, tcp, tls, ws or wss, a colon, and host:port", printable(l))}
		}
		if err := checkHostPort(address); err != nil {
			return &fieldError{key, fmt.Sprintf("%q: %v", printable(l), err)}
		}
		if isSecure(transport) && (c.TLS.Cert == "" || c.TLS.Key == "") {
			return &fieldError{"tls", fmt.Sprintf("%q needs tls.cert and tls.key", printable(l))}
		}
		if slices.Contains(c.Listen[:i], l) && !strings.HasSuffix(l, ":0") {
			return &fieldError{key, fmt.Sprintf("%q: is there twice", printable(l))}
		}
	}
	for i, a := range c.Advertise {
		if transport, rest, ok := strings.Cut(a, ":"); ok && slices.Contains(transports, transport) {
			a = rest
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), "5060") // a host alone
		}
		if err := checkHostPort(a); err != nil || strings.HasPrefix(a, ":") || strings.HasSuffix(a, ":0") {
			return &fieldError{fmt.Sprintf("advertise[%d]", i), fmt.Sprintf("%q: want a host, or host:port", printable(c.Advertise[i]))}
		}
	}
	for i, d := range c.Domains {
		if d == "" || strings.ContainsAny(d, "@:/ \t<>;,") {
			return &fieldError{fmt.Sprintf("domains[%d]", i), fmt.Sprintf("%q: want a host name", printable(d))}
		}
	}
	return nil
}

func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q: want a number up to 65535", printable(port))
	}
	if strings.ContainsAny(host, " \t\r\n/") {
		return fmt.Errorf("host %q: want an address", printable(host))
	}
	return nil
}

func (c *config) checkChoices() error {
	for _, choice := range []struct {
		key, value string
		of         []string
	}{
		{"dialect", c.Dialect, []string{"auto", "blustar", "standard"}},
		{"nat", c.NAT, []string{"auto", "always", "never"}},
		{"auth.mode", c.Auth.Mode, []string{"required", "optional", "off"}},
		{"log.level", c.Log.Level, []string{"debug", "info", "warn", "error"}},
		{"log.format", c.Log.Format, []string{"text", "json"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			return &fieldError{choice.key, fmt.Sprintf("%q: want %s or %s", printable(choice.value),
				strings.Join(choice.of[:len(choice.of)-1], ", "), choice.of[len(choice.of)-1])}
		}
	}
	for i, a := range c.Auth.DigestAlgorithms {
		if a != string(auth.SHA256) && a != string(auth.MD5) || slices.Contains(c.Auth.DigestAlgorithms[:i], a) {
			return &fieldError{fmt.Sprintf("auth.digest_algorithms[%d]", i), fmt.Sprintf("%q: want SHA-256 or MD5, each once", printable(a))}
		}
	}
	if c.Auth.AllowOldDigest != "" && len(c.Auth.DigestAlgorithms) > 0 && !slices.Contains(c.Auth.DigestAlgorithms, string(auth.MD5)) {
		return &fieldError{"auth.allow_old_digest", "needs MD5 in auth.digest_algorithms"}
	}
	if _, err := auth.StandardCiphers().Lookup(c.Auth.Cipher); err != nil {
		return &fieldError{"auth.cipher", printable(strings.TrimPrefix(err.Error(), "auth: "))}
	}
	return nil
}

func (c *config) checkLimits() error {
	for _, d := range []struct {
		key   string
		value duration
	}{
		{"auth.session", c.Auth.Session}, {"auth.challenge_lifetime", c.Auth.ChallengeLifetime},
		{"auth.failure_window", c.Auth.FailureWindow},
	} {
		if d.value <= 0 {
			return &fieldError{d.key, "must be more than 0"}
		}
	}
	if i := slices.Index(c.Auth.UserAgents, ""); i >= 0 {
		return &fieldError{fmt.Sprintf("auth.user_agents[%d]", i), "is empty: want a word"}
	}
	for _, n := range []struct {
		key                string
		value, least, most int
	}{
		{"auth.max_failures", c.Auth.MaxFailures, 0, 100},
		{"limits.max_subscribe_expires", c.Limits.MaxSubscribeExpires, 1, math.MaxInt32},
		{"limits.max_publish_expires", c.Limits.MaxPublishExpires, 1, math.MaxInt32},
		{"limits.min_expires", c.Limits.MinExpires, 0, math.MaxInt32},
		{"limits.max_body", c.Limits.MaxBody, 1, maxMessage - headerRoom},
		{"limits.max_note", c.Limits.MaxNote, 1, math.MaxInt32},
		{"limits.max_list", c.Limits.MaxList, 1, math.MaxInt32},
		{"limits.max_subscriptions", c.Limits.MaxSubscriptions, 1, math.MaxInt32},
	} {
		if n.value < n.least || n.value > n.most {
			return &fieldError{n.key, fmt.Sprintf("%d: want %d to %d", n.value, n.least, n.most)}
		}
	}
	return nil
}

func (c *config) checkDirectory() error {
	if d := c.Directory; d != nil {
		switch {
		case d.File == "" && d.LDAP == nil:
			return &fieldError{"directory", "want file or ldap"}
		case d.File != "" && d.LDAP != nil:
			return &fieldError{"directory", "file and ldap exclude each other"}
		case d.LDAP != nil && len(d.LDAP.URL) == 0:
			return &fieldError{"directory.ldap.url", "missing"}
		case d.LDAP != nil && d.LDAP.BaseDN == "":
			return &fieldError{"directory.ldap.base_dn", "missing"}
		case d.LDAP != nil && d.LDAP.BindDN != "" && d.LDAP.BindPasswordFile == "":
			return &fieldError{"directory.ldap.bind_password_file", "missing, but there is a bind_dn"}
		}
	}
	switch ldap := c.Auth.LDAP; {
	case ldap && (c.Directory == nil || c.Directory.LDAP == nil):
		return &fieldError{"auth.ldap", "needs directory.ldap"}
	case ldap && c.ActiveDirectory != nil:
		return &fieldError{"auth.ldap", "excludes active_directory, which checks passwords too"}
	}
	if ad := c.ActiveDirectory; ad != nil && len(ad.URL) == 0 {
		return &fieldError{"active_directory.url", "missing"}
	}
	return nil
}

func (c *config) checkHTTP() error {
	if c.HTTP.Listen == "" {
		return nil
	}
	if err := checkHostPort(c.HTTP.Listen); err != nil {
		return &fieldError{"http.listen", fmt.Sprintf("%q: %v", printable(c.HTTP.Listen), err)}
	}
	if c.HTTP.TokenFile == "" && !isLoopback(c.HTTP.Listen) {
		return &fieldError{"http.listen", fmt.Sprintf("%q is not loopback: that needs http.token_file", printable(c.HTTP.Listen))}
	}
	return nil
}

// isLoopback reports whether host:port, or a host alone, is this machine's own.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
