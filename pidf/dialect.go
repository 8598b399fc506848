package pidf

import "strconv"

// Dialect is one of the two ways to write a presence document. They differ in identifiers and device names alone.
type Dialect int

const (
	// BluStarDialect writes what the interface description prints: identifiers as they are ("global service",
	// "tel:2719", the entity), and a deviceID only where there is one.
	BluStarDialect Dialect = iota

	// StandardDialect writes what the schemas of the RFCs validate: identifiers are unique NCNames, and each
	// device has a deviceID, its ID where it has no other. A person whose ID is the entity gets "person".
	StandardDialect
)

// String returns "blustar" or "standard".
func (d Dialect) String() string {
	if d == StandardDialect {
		return "standard"
	}
	return "blustar"
}

// identifiers hands out unique NCNames (xs:ID) for one document.
type identifiers struct {
	used  []string
	index map[string]struct{} // of used, once that is long
}

// unique returns id where it is an NCName that was not given out before, otherwise one that resembles it.
// Otherwise is what an empty id becomes.
func (u *identifiers) unique(id, otherwise string) string {
	base := ncName(id, otherwise)
	name := base
	for n := 2; u.has(name); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	u.used = append(u.used, name)
	if len(u.used) == 32 {
		u.index = make(map[string]struct{}, 64)
		for _, s := range u.used {
			u.index[s] = struct{}{}
		}
	} else if u.index != nil {
		u.index[name] = struct{}{}
	}
	return name
}

func (u *identifiers) has(name string) bool {
	if u.index != nil {
		_, ok := u.index[name]
		return ok
	}
	for _, s := range u.used {
		if s == name {
			return true
		}
	}
	return false
}

// ncName replaces what an NCName cannot hold by hyphens: "global service" becomes "global-service", "200" "_200".
func ncName(id, otherwise string) string {
	if isNCName(id) {
		return id
	}
	if id == "" {
		return otherwise
	}
	b := make([]byte, 0, len(id)+1)
	for _, r := range id {
		switch {
		case len(b) == 0 && !isNameStart(r):
			b = append(b, '_')
			if isNameInner(r) {
				b = append(b, string(r)...)
			}
		case isNameInner(r):
			b = append(b, string(r)...)
		default:
			b = append(b, '-')
		}
	}
	return string(b)
}
