package hostconfig

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/loopback"
	"github.com/openblustar/blustar/internal/strictjson"
)

// transports that can be listened on; those with TLS are the last two.
var transports = []string{"udp", "tcp", "ws", "tls", "wss"}

// IsSecure reports whether a transport is one with TLS.
func IsSecure(transport string) bool { return transport == "tls" || transport == "wss" }

// Check finds what is wrong with the values, the first thing only. The error is
// a *strictjson.Error.
func (c *Config) Check() error {
	for _, check := range []func() error{c.checkListen, c.checkChoices, c.checkLimits, c.checkDirectory, c.checkStore, c.checkHTTP,
		c.PBX.check, c.checkCalendar, c.checkMicrosoft} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkListen() error {
	if len(c.Listen) == 0 {
		return Wrong("listen", "empty: want at least one, such as \"udp:127.0.0.1:5060\"")
	}
	for i, l := range c.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		transport, address, _ := strings.Cut(l, ":")
		if !slices.Contains(transports, transport) {
			return Wrong(key, "%q: want udp, tcp, tls, ws or wss, a colon, and host:port", strictjson.Printable(l))
		}
		if err := checkHostPort(address); err != nil {
			return Wrong(key, "%q: %v", strictjson.Printable(l), err)
		}
		if IsSecure(transport) && (c.TLS.Cert == "" || c.TLS.Key == "") {
			return Wrong("tls", "%q needs tls.cert and tls.key", strictjson.Printable(l))
		}
		if slices.Contains(c.Listen[:i], l) && !strings.HasSuffix(l, ":0") {
			return Wrong(key, "%q: is there twice", strictjson.Printable(l))
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
			return Wrong(fmt.Sprintf("advertise[%d]", i), "%q: want a host, or host:port", strictjson.Printable(c.Advertise[i]))
		}
	}
	for i, d := range c.Domains {
		if d == "" || strings.ContainsAny(d, "@:/ \t<>;,") {
			return Wrong(fmt.Sprintf("domains[%d]", i), "%q: want a host name", strictjson.Printable(d))
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
		return fmt.Errorf("port %q: want a number up to 65535", strictjson.Printable(port))
	}
	if strings.ContainsAny(host, " \t\r\n/") {
		return fmt.Errorf("host %q: want an address", strictjson.Printable(host))
	}
	return nil
}

func (c *Config) checkChoices() error {
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
			last := len(choice.of) - 1
			return Wrong(choice.key, "%q: want %s or %s", strictjson.Printable(choice.value), strings.Join(choice.of[:last], ", "), choice.of[last])
		}
	}
	for i, a := range c.Auth.DigestAlgorithms {
		if a != string(auth.SHA256) && a != string(auth.MD5) || slices.Contains(c.Auth.DigestAlgorithms[:i], a) {
			return Wrong(fmt.Sprintf("auth.digest_algorithms[%d]", i), "%q: want SHA-256 or MD5, each once", strictjson.Printable(a))
		}
	}
	if c.Auth.AllowOldDigest != "" && len(c.Auth.DigestAlgorithms) > 0 && !slices.Contains(c.Auth.DigestAlgorithms, string(auth.MD5)) {
		return Wrong("auth.allow_old_digest", "needs MD5 in auth.digest_algorithms")
	}
	if _, err := auth.CipherNamed(c.Auth.Cipher); err != nil {
		return Wrong("auth.cipher", "%s", strictjson.Printable(strings.TrimPrefix(err.Error(), "auth: ")))
	}
	return nil
}

func (c *Config) checkLimits() error {
	for _, d := range []struct {
		key   string
		value Duration
	}{
		{"auth.session", c.Auth.Session}, {"auth.challenge_lifetime", c.Auth.ChallengeLifetime},
		{"auth.failure_window", c.Auth.FailureWindow},
	} {
		if d.value <= 0 {
			return Wrong(d.key, "must be more than 0")
		}
	}
	if i := slices.Index(c.Auth.UserAgents, ""); i >= 0 {
		return Wrong(fmt.Sprintf("auth.user_agents[%d]", i), "is empty: want a word")
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
		{"limits.heap_room", c.Limits.HeapRoom, 0, 1 << 20},
	} {
		if n.value < n.least || n.value > n.most {
			return Wrong(n.key, "%d: want %d to %d", n.value, n.least, n.most)
		}
	}
	return nil
}

func (c *Config) checkDirectory() error {
	if d := c.Directory; d != nil {
		switch {
		case d.File == "" && d.LDAP == nil:
			return Wrong("directory", "want file or ldap")
		case d.File != "" && d.LDAP != nil:
			return Wrong("directory", "file and ldap exclude each other")
		case d.LDAP != nil && len(d.LDAP.URL) == 0:
			return Wrong("directory.ldap.url", "missing")
		case d.LDAP != nil && d.LDAP.BaseDN == "":
			return Wrong("directory.ldap.base_dn", "missing")
		case d.LDAP != nil && d.LDAP.BindDN != "" && d.LDAP.BindPasswordFile == "":
			return Wrong("directory.ldap.bind_password_file", "missing, but there is a bind_dn")
		}
	}
	switch ldap := c.Auth.LDAP; {
	case ldap && (c.Directory == nil || c.Directory.LDAP == nil):
		return Wrong("auth.ldap", "needs directory.ldap")
	case ldap && c.ActiveDirectory != nil:
		return Wrong("auth.ldap", "excludes active_directory, which checks passwords too")
	}
	if ad := c.ActiveDirectory; ad != nil && len(ad.URL) == 0 {
		return Wrong("active_directory.url", "missing")
	}
	return nil
}

func (c *Config) checkHTTP() error {
	if c.HTTP.Listen == "" {
		return nil
	}
	if err := checkHostPort(c.HTTP.Listen); err != nil {
		return Wrong("http.listen", "%q: %v", strictjson.Printable(c.HTTP.Listen), err)
	}
	if c.HTTP.TokenFile == "" && !loopback.Is(c.HTTP.Listen) {
		return Wrong("http.listen", "%q is not loopback: that needs http.token_file", strictjson.Printable(c.HTTP.Listen))
	}
	return nil
}

func (c *Config) checkStore() error {
	s := c.Store
	switch {
	case s == nil:
		return nil
	case s.File == "" && s.NATS == nil:
		return Wrong("store.file", "missing")
	case s.NATS == nil && s.Node != "":
		return Wrong("store.node", "needs store.nats")
	case s.NATS == nil:
		return nil
	case s.File != "":
		return Wrong("store", "file and nats exclude each other")
	case s.Sync != 0:
		return Wrong("store.sync", "is for store.file: with store.nats each answer waits for NATS")
	case len(s.NATS.URL) == 0:
		return Wrong("store.nats.url", "missing")
	case !bucketName.MatchString(s.NATS.Bucket):
		return Wrong("store.nats.bucket", "%q: want letters, digits, - and _, at most 64", strictjson.Printable(s.NATS.Bucket))
	case s.NATS.Replicas < 1 || s.NATS.Replicas > 5:
		return Wrong("store.nats.replicas", "%d: want 1 to 5", s.NATS.Replicas)
	case s.NATS.Lease < Duration(time.Second) || s.NATS.Lease > Duration(30*time.Second):
		return Wrong("store.nats.lease", "%v: want 1s to 30s", time.Duration(s.NATS.Lease))
	}
	for i, text := range s.NATS.URL { // which may hold a password, so it is not quoted
		u, err := url.Parse(text)
		if err == nil && u.Port() == "" && !strings.HasSuffix(u.Host, ":") {
			u.Host += ":4222"
		}
		if err != nil || !slices.Contains([]string{"nats", "tls"}, u.Scheme) || u.Hostname() == "" || u.User != nil || checkHostPort(u.Host) != nil {
			return Wrong(fmt.Sprintf("store.nats.url[%d]", i), `want a URL such as "nats://nats1.example.com:4222", without a user`)
		}
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
