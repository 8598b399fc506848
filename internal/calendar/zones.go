package calendar

import (
	"strings"
	"sync"
	"time"
)

const (
	maxZones    = 1024 // names that are remembered
	maxZoneName = 128
)

// Zones finds time zones by name and remembers them, those that do not exist too: the
// same few are named by each appointment. The zero value is ready. It is safe for
// concurrent use.
type Zones struct {
	mu    sync.Mutex
	known map[string]*time.Location // nil: there is none
}

// Find returns the zone of the tz database that a name can only mean, be it a name of
// its own, with or without the prefix of a vendor, or one of Windows; else nil.
func (z *Zones) Find(name string) *time.Location { return z.once("full", name, named) }

// FindShort is Find for names without a slash such as "EST" and "Cuba". They could be
// anything: a definition that came with the name goes first.
func (z *Zones) FindShort(name string) *time.Location { return z.once("short", name, load) }

func (z *Zones) once(kind, name string, get func(string) *time.Location) *time.Location {
	name = strings.TrimSpace(name)
	if len(name) > maxZoneName {
		return nil
	}
	key := kind + " " + name
	z.mu.Lock()
	defer z.mu.Unlock()
	if l, ok := z.known[key]; ok {
		return l
	}
	if z.known == nil || len(z.known) >= maxZones {
		z.known = make(map[string]*time.Location)
	}
	l := get(name)
	z.known[key] = l
	return l
}

// named returns the zone of the tz database that a name means, be it one of its
// own, with or without the prefix of a vendor, or one of Windows; else nil.
func named(id string) *time.Location {
	if name, ok := windowsZone(id); ok {
		return load(name)
	}
	if !strings.Contains(id, "/") {
		if id == "UTC" || id == "GMT" {
			return time.UTC
		}
		return nil
	}
	// "/mozilla.org/20050126_1/Europe/Berlin", "/softwarestudio.org/…/America/Indiana/Knox"
	name := strings.TrimPrefix(id, "/")
	for {
		if l := load(name); l != nil {
			return l
		}
		var more bool
		if _, name, more = strings.Cut(name, "/"); !more || !strings.Contains(name, "/") {
			return nil
		}
	}
}

// load loads a zone of the tz database; nil where there is none.
func load(name string) *time.Location {
	// time.LoadLocation gives "" and "Local" a meaning of their own.
	if name == "" || name == "Local" {
		return nil
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return l
}
