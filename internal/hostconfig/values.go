package hostconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/openblustar/blustar/internal/strictjson"
)

// Duration is written "8h", "5m", "90s".
type Duration time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return errors.New(`want a duration such as "5m"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q: want a duration such as \"5m\"", strictjson.Printable(s))
	}
	*d = Duration(v)
	return nil
}

// Allowed is false, true or "insecure"; here "", "tls" or "insecure".
type Allowed string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *Allowed) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "false":
		*a = ""
	case "true":
		*a = "tls"
	case `"insecure"`:
		*a = "insecure"
	default:
		return errors.New(`want false, true or "insecure"`)
	}
	return nil
}

// Network is written "192.0.2.0/24", or as an address alone.
type Network netip.Prefix

// UnmarshalJSON implements [json.Unmarshaler].
func (n *Network) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) != nil {
		return errors.New(`want a network such as "192.0.2.0/24"`)
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		*n = Network(netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf(`%q: want a network such as "192.0.2.0/24"`, strictjson.Printable(s))
	}
	*n = Network(p)
	return nil
}

// URLs is a string or a list of strings.
type URLs []string

// UnmarshalJSON implements [json.Unmarshaler].
func (u *URLs) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil && one != "" {
		*u = URLs{one}
		return nil
	}
	var list []string
	if json.Unmarshal(text, &list) != nil || len(list) == 0 {
		return errors.New("want a URL, or a list of them")
	}
	*u = list
	return nil
}

// StoreSync is written "50ms", or "always"; here less than 0 for that.
type StoreSync time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (s *StoreSync) UnmarshalJSON(text []byte) error {
	var always string
	if json.Unmarshal(text, &always) == nil && always == "always" {
		*s = -1
		return nil
	}
	var d Duration
	if err := d.UnmarshalJSON(text); err != nil || d == 0 || d > Duration(time.Minute) {
		return errors.New(`want a duration up to "1m", such as "50ms", or "always"`)
	}
	*s = StoreSync(d)
	return nil
}
