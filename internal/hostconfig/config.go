package hostconfig

import (
	"time"
)

// Config is the configuration file. Every key is optional; [Default] has what counts
// without it. Paths are absolute once it is loaded.
type Config struct {
	Name string // of the file, for messages; empty: there is none

	// Listen says where SIP is served: "udp:", "tcp:", "tls:", "ws:" or "wss:"
	// and host:port. Port 0 takes a free one.
	Listen []string `json:"listen"`
	// Advertise is where clients reach the server, where its sockets do not know
	// better: "sip.example.com", or "tcp:198.51.100.7:5070" for one transport.
	Advertise []string `json:"advertise"`
	TLS       TLS      `json:"tls"`
	// Domains are the served domains. Without any, the To header alone says
	// who is meant.
	Domains []string `json:"domains"`
	// Dialect is "auto", "blustar" or "standard".
	Dialect string `json:"dialect"`
	// NAT says where NOTIFYs over UDP go: "auto", "always" (back to where the
	// SUBSCRIBE came from) or "never" (to the Contact).
	NAT string `json:"nat"`
	// AllStatuses shows BluStar clients away and other as RPID has them; else as
	// busy, with a text that says which it is (§3.2 has five statuses).
	AllStatuses bool `json:"all_statuses"`
	// NextAppointment shows the next appointment where none is running.
	NextAppointment bool `json:"next_appointment"`

	Auth Auth `json:"auth"`
	// Policy is the file that says who may see how much of whom.
	Policy string `json:"policy"`
	// Accounts is the file of local accounts; AMCCs and Digest need it even
	// where Active Directory checks everybody else.
	Accounts        string           `json:"accounts"`
	Directory       *Directory       `json:"directory"`
	ActiveDirectory *ActiveDirectory `json:"active_directory"`
	// Store has subscriptions and publications outlive the process; null: in memory.
	Store  *Store `json:"store"`
	Limits Limits `json:"limits"`
	HTTP   HTTP   `json:"http"`
	Log    Log    `json:"log"`

	// Where lines, calendars and the presence of Teams are from; null: from the control
	// API alone.
	PBX       *PBX       `json:"pbx"`
	Calendar  *Calendar  `json:"calendar"`
	Microsoft *Microsoft `json:"microsoft"`
	Teams     *Teams     `json:"teams"`
}

// TLS is the certificate to listen with.
type TLS struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// CAFile checks those to whom SIP is sent by TLS: a PBX. Empty: the system's.
	CAFile string `json:"ca_file"`
}

// Auth says who is let in.
type Auth struct {
	Mode string `json:"mode"` // "required", "optional" or "off"
	LDAP bool   `json:"ldap"` // passwords are checked by bind at directory.ldap
	// UserAgents are words that mark a User-Agent as one of BluStar.
	UserAgents        []string `json:"user_agents"`
	Cipher            string   `json:"cipher"` // "tuz" or "aes-gcm"
	Session           Duration `json:"session"`
	ChallengeLifetime Duration `json:"challenge_lifetime"`
	AllowBasic        Allowed  `json:"allow_basic"`       // false, true (over TLS), or "insecure" (anywhere)
	AllowOldDigest    Allowed  `json:"allow_old_digest"`  // without qop (RFC 2069); likewise
	DigestAlgorithms  []string `json:"digest_algorithms"` // as they are offered
	RequireTLS        bool     `json:"require_tls"`
	AnySource         bool     `json:"any_source"`  // sessions may move between addresses
	ListedFrom        bool     `json:"listed_from"` // From must be in the directory
	// SharedSources are addresses that many users have, of an SBC or a NAT: there,
	// somebody's failures do not count against the others.
	SharedSources []Network `json:"shared_sources"`
	MaxFailures   int       `json:"max_failures"` // 0: no throttling
	FailureWindow Duration  `json:"failure_window"`
}

// Directory has one of its two.
type Directory struct {
	File string `json:"file"`
	LDAP *LDAP  `json:"ldap"`
}

// LDAP is a directory of users.
type LDAP struct {
	URL              URLs      `json:"url"` // one, or a list to fail over
	StartTLS         bool      `json:"start_tls"`
	CAFile           string    `json:"ca_file"`
	BindDN           string    `json:"bind_dn"`
	BindPasswordFile string    `json:"bind_password_file"`
	BaseDN           string    `json:"base_dn"`
	Filter           string    `json:"filter"`
	SIPAttributes    []string  `json:"sip_attributes"`
	TelAttributes    []string  `json:"tel_attributes"`
	TelFormats       []string  `json:"tel_formats"` // "+49 89 1234-###"
	IDAttribute      string    `json:"id_attribute"`
	AccountAttribute string    `json:"account_attribute"`
	AccountDomain    string    `json:"account_domain"` // put before the account: DOMAIN\user
	MailAttribute    string    `json:"mail_attribute"`
	LineAttributes   []string  `json:"line_attributes"`
	GroupAttributes  []string  `json:"group_attributes"` // for policy
	NameAttribute    string    `json:"name_attribute"`
	Cache            *Duration `json:"cache"` // 0: none
}

// ActiveDirectory checks passwords.
type ActiveDirectory struct {
	URL           URLs   `json:"url"`
	StartTLS      bool   `json:"start_tls"`
	CAFile        string `json:"ca_file"`
	DefaultDomain string `json:"default_domain"` // of names without one
	BaseDN        string `json:"base_dn"`        // accounts elsewhere are refused
}

// Store has subscriptions and publications outlive the process: in a file, or in NATS,
// which several nodes share.
type Store struct {
	File string    `json:"file"`
	Sync StoreSync `json:"sync"`
	NATS *NATS     `json:"nats"`
	Node string    `json:"node"` // names this one; empty: as the host
}

// NATS is where several nodes keep what they share.
type NATS struct {
	URL             URLs     `json:"url"`              // one, or a list to fail over
	Bucket          string   `json:"bucket"`           // all nodes of a site have the same; empty: "blustar"
	Replicas        int      `json:"replicas"`         // NATS servers that have everything; 0: 1
	Lease           Duration `json:"lease"`            // how long a node may be silent; 0: 10s
	CredentialsFile string   `json:"credentials_file"` // of NATS: a .creds file
	CAFile          string   `json:"ca_file"`          // checks the servers of tls:// URLs; empty: the system's
}

// Limits has expiries in seconds, sizes in bytes.
type Limits struct {
	MaxSubscribeExpires int `json:"max_subscribe_expires"`
	MaxPublishExpires   int `json:"max_publish_expires"`
	MinExpires          int `json:"min_expires"`
	MaxNote             int `json:"max_note"`
	MaxBody             int `json:"max_body"`
	MaxList             int `json:"max_list"`
	MaxSubscriptions    int `json:"max_subscriptions"`
	// HeapRoom is how much garbage may come together, in MiB, so that the collector
	// runs rarely; see package heap. 0 leaves it to the Go runtime.
	HeapRoom int `json:"heap_room"`
}

// HTTP is the control API.
type HTTP struct {
	Listen    string `json:"listen"`     // empty: no control API
	TokenFile string `json:"token_file"` // empty: no token, and loopback only
	// MetricsToken asks for the token at /metrics too.
	MetricsToken bool `json:"metrics_token"`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `json:"level"`  // "debug", "info", "warn" or "error"
	Format string `json:"format"` // "text" or "json"
}

// Default is what counts without a file.
func Default() *Config {
	return &Config{
		Listen:  []string{"udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"},
		Dialect: "auto",
		NAT:     "auto",
		Auth: Auth{
			Mode: "required", Cipher: "tuz", Session: Duration(8 * time.Hour),
			ChallengeLifetime: Duration(5 * time.Minute), MaxFailures: 4, FailureWindow: Duration(15 * time.Minute),
		},
		Limits: Limits{
			MaxSubscribeExpires: 300, MaxPublishExpires: 3600, MinExpires: 60,
			MaxNote: 1024, MaxBody: 65536, MaxList: 500, MaxSubscriptions: 200_000, HeapRoom: 128,
		},
		HTTP: HTTP{Listen: "127.0.0.1:8080"},
		Log:  Log{Level: "info", Format: "text"},
	}
}
