package pidf

import (
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/slab"
)

// Choice is one value of an RPID enumeration: an empty element called Name, or "other" with a text of its own.
type Choice struct {
	Name string // such as "busy", "on-the-phone" or "other"
	Lang string // xml:lang of the text
	Text string // content of other

	Extra *Extra // unknown attributes; nil for none
}

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

// Privacy says which communication others near the person cannot overhear (RFC 4480 §3.7): "audio", "text", "video" or
// "unknown".
type Privacy Activities

// Relationship says who answers at an alternate contact (RFC 4480 §3.8): "assistant", "family", … or "other". It has no
// From, Until or ID.
type Relationship Activities

// ServiceClass is the kind of service (RFC 4480 §3.9): "electronic", "postal", "courier", … It has no From, Until or
// ID.
type ServiceClass Activities

// Sphere is the role that the person plays (RFC 4480 §3.10): "home", "work" or "unknown". It has no notes.
type Sphere Activities

// PlaceIs says how well a place suits communication (RFC 4480 §3.5).
type PlaceIs struct {
	Notes       []Note
	Audio       *AudioPlace
	Video       *VideoPlace
	Text        *TextPlace
	From, Until time.Time
	ID          string
	Extra
}

// AudioPlace says how well a place suits talking: "noisy", "ok", "quiet" or "unknown". It has nothing but one value.
type AudioPlace Activities

// VideoPlace says so of pictures: "toobright", "ok", "dark" or "unknown".
type VideoPlace Activities

// TextPlace says so of text: "uncomfortable", "inappropriate", "ok" or "unknown".
type TextPlace Activities

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

// choices lists the fields of an element of the shape of activities. Values in foreign namespaces stand among its own.
// Its schema may demand one, for which otherwise is written.
func choices(f *Fields, a *Activities, list, otherwise string) {
	Bounds(f, &a.From, &a.Until)
	f.id(&a.ID, "")
	f.in(idRPID)
	f.Notes("note", &a.Notes)
	f.Any()
	f.values(a, list, otherwise)
	f.AnyEnd()
}

// Bounds lists the attributes from and until, as most of RPID has them, beside any others.
func Bounds(f *Fields, from, until *time.Time) {
	if !f.spare || *from != (time.Time{}) || *until != (time.Time{}) {
		f.bounds(from, until)
	}
}

func (f *Fields) bounds(from, until *time.Time) {
	f.Attr("from", from, 0)
	f.Attr("until", until, 0)
	f.AnyAttr()
}

// class lists the class of RFC 4480 §3.3.
func (f *Fields) class(v *string) {
	if (!f.spare || *v != "") && !f.passes("class", 0) {
		f.Leaf("class", v, 0)
	}
}

func (a *Activities) Fields(f *Fields) { choices(f, a, activities, "") }

func (m *Mood) Fields(f *Fields) { choices(f, (*Activities)(m), moods, "unknown") }

func (p *PlaceType) Fields(f *Fields) { choices(f, (*Activities)(p), "other", "other") }

func (r *Relationship) Fields(f *Fields) { choices(f, (*Activities)(r), relationships, "") }

func (s *ServiceClass) Fields(f *Fields) { choices(f, (*Activities)(s), serviceClasses, "unknown") }

func (s *Sphere) Fields(f *Fields) { choices(f, (*Activities)(s), spheres, "") }

func (p *Privacy) Fields(f *Fields) {
	a := (*Activities)(p)
	Bounds(f, &a.From, &a.Until)
	f.id(&a.ID, "")
	f.in(idRPID)
	f.Notes("note", &a.Notes)
	f.values(a, privacies, "")
	f.Any()
	f.AnyEnd()
}

func (p *PlaceIs) Fields(f *Fields) {
	Bounds(f, &p.From, &p.Until)
	f.id(&p.ID, "")
	f.Notes("note", &p.Notes)
	One(f, "audio", &p.Audio, 0)
	One(f, "video", &p.Video, 0)
	One(f, "text", &p.Text, 0)
}

func (a *AudioPlace) Fields(f *Fields) { f.values((*Activities)(a), audioPlaces, "unknown") }

func (v *VideoPlace) Fields(f *Fields) { f.values((*Activities)(v), videoPlaces, "unknown") }

func (t *TextPlace) Fields(f *Fields) { f.values((*Activities)(t), textPlaces, "unknown") }

func (s *StatusIcon) Fields(f *Fields) {
	Bounds(f, &s.From, &s.Until)
	f.id(&s.ID, "")
	f.Text(&s.URI, 0)
}

func (o *TimeOffset) Fields(f *Fields) {
	Bounds(f, &o.From, &o.Until)
	f.Attr("description", &o.Description, Raw)
	f.id(&o.ID, "")
	f.Text(&o.Minutes, Need)
}

func (u *UserInput) Fields(f *Fields) {
	f.Attr("idle-threshold", &u.IdleThreshold, positive)
	f.Attr("last-input", &u.LastInput, 0)
	f.id(&u.ID, "")
	f.AnyAttr()
	f.Text(&u.State, Need, userInputs)
}

// values lists the values of an enumeration that are elements. Those of a list that has audio come in its order.
func (f *Fields) values(a *Activities, list, otherwise string) {
	f.i++
	if otherwise != "" {
		f.needs(Need)
	}
	switch f.mode {
	case readAttrs:
		f.begin()
		fallthrough
	case readChild:
		// One of another namespace, such as a place type of RFC 4589, is none of them.
		for f.name != "" && f.name != "note" && (f.d.Name.ID == idRPID || isChoice(f.name)) && f.claim(false, false) {
			f.readChoice(a)
			f.advance()
		}
	case readEnd:
		if otherwise != "" && len(a.Values) == 0 && !holdsElements(a.Extensions) {
			f.lack("a value")
		}
	case counting:
		f.n += len(a.Values)
	case writing:
		f.writeChoices(a, list)
		if otherwise != "" && len(a.Values) == 0 && !f.missing() && !holdsElements(a.Extensions) {
			f.body()
			f.w.leaf(f.ns, otherwise, nil, "")
		}
	case validating:
		f.v.choices(a, list, otherwise != "")
	}
}

func holdsElements(xs []Extension) bool {
	return slices.ContainsFunc(xs, func(e Extension) bool { return e.name.Local != "" })
}

func (f *Fields) readChoice(a *Activities) {
	c := Choice{Name: f.d.Name.Local}
	var n Note
	if !f.readNote(&n) {
		return
	}
	if c.Lang, c.Text, c.Extra = n.Lang, n.Text, n.Extra; c.Name != "other" && markup.Trim(c.Text) == "" {
		c.Text = ""
	}
	a.Values = slab.Append(f.d.memory, a.Values, c)
}

func (f *Fields) writeChoices(a *Activities, list string) {
	if len(a.Values) < 2 || list != privacies {
		for i := range a.Values {
			f.writeChoice(&a.Values[i])
		}
		return
	}
	for _, name := range [...]string{"audio", "text", "video", ""} {
		for i := range a.Values {
			v := a.Values[i].Name
			if v == name || name == "" && v != "audio" && v != "text" && v != "video" {
				f.writeChoice(&a.Values[i])
			}
		}
	}
}

func (f *Fields) writeChoice(c *Choice) {
	name := c.Name
	if !markup.IsNCName(name) {
		name = "unknown"
	}
	if c.Lang == "" && c.Extra == nil {
		f.text(name, c.Text)
		return
	}
	f.writeNote(name, &Note{Lang: c.Lang, Text: c.Text, Extra: c.Extra})
}

// isChoice reports whether an element of that name may stand in an element of the shape of activities. Only such
// names are taken for RPID's without its namespace.
func isChoice(local string) bool {
	const all = "|audio|text|video|home|work|" + activities + "|" + moods + "|" + relationships + "|" + serviceClasses + "|"
	return strings.Contains(all, "|"+local+"|")
}
