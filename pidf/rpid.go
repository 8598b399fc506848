package pidf

import "time"

// Choice is one value of an RPID enumeration: an empty element called Name, or "other" with a text of its own.
type Choice struct {
	Name string // such as "busy", "on-the-phone" or "other"
	Lang string // xml:lang of the text
	Text string // content of other
}

// Activity is one value of Activities: "busy", "away", "meeting", "on-the-phone", … or "other" (RFC 4480 §3.2).
type Activity = Choice

// Activities is what a person is doing (RFC 4480 §3.2).
//
// Values in a foreign namespace are extensions of it. From and Until bound the time it holds for and are zero where
// absent, ID is the element's own identifier; both are common to most of RPID (RFC 4480 §3.1).
type Activities struct {
	Notes       []Note
	Values      []Choice
	From, Until time.Time
	ID          string
	Extra
}

// Mood is how a person feels (RFC 4480 §3.4): "happy", "sad", "in_love", … or "other".
type Mood Activities

// PlaceType is the kind of place a person is at (RFC 4480 §3.6): "other" with a text; the values of RFC 4589
// are in a namespace of their own (NSLocationType) and so are extensions.
type PlaceType Activities

// Privacy says which communication others near the person cannot overhear (RFC 4480 §3.7): "audio", "text", "video" or "unknown".
type Privacy Activities

// Relationship says who answers at an alternate contact (RFC 4480 §3.8): "assistant", "family", … or "other". It has no From, Until or ID.
type Relationship Activities

// ServiceClass is the kind of service (RFC 4480 §3.9): "electronic", "postal", "courier", … It has no From, Until or ID.
type ServiceClass Activities

// Sphere is the role that the person plays (RFC 4480 §3.10): "home", "work" or "unknown". It has no notes.
type Sphere Activities

// PlaceIs says how well a place suits communication (RFC 4480 §3.5).
type PlaceIs struct {
	Notes       []Note
	Audio       string // "noisy", "ok", "quiet" or "unknown"; empty where absent
	Video       string // "toobright", "ok", "dark" or "unknown"
	Text        string // "uncomfortable", "inappropriate", "ok" or "unknown"
	From, Until time.Time
	ID          string
	Extra
}

// StatusIcon is a picture of the current status (RFC 4480 §3.11).
type StatusIcon struct {
	URI         string
	From, Until time.Time
	ID          string
	Extra
}

// TimeOffset is where a person is on the clock (RFC 4480 §3.12).
type TimeOffset struct {
	Minutes     int // east of UTC
	Description string
	From, Until time.Time
	ID          string
	Extra
}

// UserInput says whether a device, service or person is in use (RFC 4480 §3.13).
type UserInput struct {
	State         string // "active" or "idle"
	IdleThreshold int    // seconds; zero where absent
	LastInput     time.Time
	ID            string
	Extra
}
