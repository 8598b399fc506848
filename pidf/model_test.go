package pidf_test

import (
	"fmt"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"pgregory.net/rapid"
)

// model returns a document as a host might build it.
func model(t *rapid.T) *pidf.Presence {
	b := builder{t}
	p := &pidf.Presence{Entity: b.uri()}
	for i := range b.n(3) {
		p.Tuples = append(p.Tuples, b.tuple(i))
	}
	p.Notes = b.notes()
	for i := range b.n(2) {
		p.Devices = append(p.Devices, b.device(i))
	}
	for i := range b.n(2) {
		p.Persons = append(p.Persons, b.person(p, i))
	}
	return p
}

type builder struct{ *rapid.T }

func (b builder) n(most int) int { return rapid.IntRange(0, most).Draw(b.T, "n") }

func (b builder) yes() bool { return rapid.Bool().Draw(b.T, "yes") }

func (b builder) text() string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("ab <>&\"'\n\té€😀\r")), 0, 6, -1).Draw(b.T, "text")
}

func (b builder) uri() string {
	return rapid.StringMatching(`(sip|tel):[a-z0-9.@]{1,8}`).Draw(b.T, "uri")
}

func (b builder) time() time.Time {
	if b.yes() {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(b.T, "time"), 0).UTC()
}

func (b builder) moment() time.Time {
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(b.T, "time"), 0).UTC()
}

func (b builder) id(kind string, i int) string {
	return fmt.Sprintf(pick(b, "%s %d", "tel:%s%d", "%[2]d%[1]s", "%s-%d", "é%s%d"), kind, i)
}

func pick[T any](b builder, from ...T) T { return rapid.SampledFrom(from).Draw(b.T, "pick") }

func (b builder) notes() []pidf.Note {
	var notes []pidf.Note
	for range b.n(2) {
		notes = append(notes, pidf.Note{Lang: pick(b, "", "en", "Eng"), Text: b.text()})
	}
	return notes
}

func (b builder) tuple(i int) pidf.Tuple {
	t := pidf.Tuple{ID: b.id("t", i), Basic: pick(b, "", pidf.Open, pidf.Closed), Notes: b.notes(), Timestamp: b.time()}
	if b.yes() {
		t.Contact = &pidf.Contact{URI: b.uri(), Priority: pick(b, "", "0", "1.0", "0.123")}
	}
	for range b.n(2) {
		t.DeviceIDs = append(t.DeviceIDs, pidf.DeviceID{URI: b.uri()})
	}
	t.Class = pick(b, "", "sales")
	if b.yes() {
		t.Relationship = &pidf.Relationship{Values: []pidf.Choice{{Name: pick(b, "friend", "self")}}}
		t.Privacy = &pidf.Privacy{Values: []pidf.Choice{{Name: "audio"}, {Name: "video"}}, From: b.time()}
		t.ServiceClass = &pidf.ServiceClass{Values: []pidf.Choice{{Name: "electronic"}}}
		t.UserInput = b.userInput()
	}
	return t
}

func (b builder) userInput() *pidf.UserInput {
	return &pidf.UserInput{State: pick(b, "active", "idle"), IdleThreshold: b.n(600), LastInput: b.time()}
}

func (b builder) device(i int) pidf.Device {
	d := pidf.Device{ID: b.id("d", i), DeviceID: pick(b, "", "urn:x:1"), Notes: b.notes(), Timestamp: b.time()}
	if b.yes() {
		line := &aa.Line{DN: "27", State: pick(b, aa.LineIdle, aa.LineRinging, aa.LineBusy, aa.LineUnknown)}
		if b.yes() {
			line.Forward = &aa.Forward{Type: "immediate", Destination: b.uri()}
		}
		d.Extra = aa.Extra(line)
	}
	return d
}

func (b builder) activities(names ...string) *pidf.Activities {
	a := &pidf.Activities{Notes: b.notes(), From: b.time(), Until: b.time()}
	for range b.n(3) {
		a.Values = append(a.Values, pidf.Choice{Name: pick(b, names...)})
	}
	return a
}

func (b builder) person(p *pidf.Presence, i int) pidf.Person {
	v := pidf.Person{ID: b.id("p", i), Notes: b.notes(), Timestamp: b.time()}
	if i == 0 && b.yes() {
		v.ID = p.Entity
	}
	if b.yes() {
		v.Activities = b.activities("busy", "away", "on-the-phone", "looking-for-work")
		v.Activities.Values = append(v.Activities.Values, pidf.Choice{Name: "other", Lang: pick(b, "", "en"), Text: b.text()})
	}
	if b.yes() {
		v.Mood = (*pidf.Mood)(b.activities("happy", "in_love"))
		v.Mood.Values = append(v.Mood.Values, pidf.Choice{Name: "sad"})
		v.PlaceIs = &pidf.PlaceIs{Until: b.time()}
		if b.yes() {
			v.PlaceIs.Audio = &pidf.AudioPlace{Values: []pidf.Choice{{Name: "ok"}}}
			v.PlaceIs.Text = &pidf.TextPlace{Values: []pidf.Choice{{Name: "inappropriate"}}}
		}
		if b.yes() {
			v.PlaceIs.Video = &pidf.VideoPlace{Values: []pidf.Choice{{Name: "dark"}}}
		}
		v.PlaceType = &pidf.PlaceType{Values: []pidf.Choice{{Name: "other", Text: b.text()}}}
		v.Sphere = &pidf.Sphere{Values: []pidf.Choice{{Name: "home"}}}
		v.StatusIcon = &pidf.StatusIcon{URI: "http://example.com/a.png", ID: fmt.Sprintf("icon%d", i)}
		v.TimeOffset = &pidf.TimeOffset{Minutes: b.n(800) - 400, Description: b.text()}
		v.UserInput = b.userInput()
		v.Class = "work"
	}
	if b.yes() {
		v.Extra = aa.Extra(b.bluStar())
	}
	return v
}

func (b builder) bluStar() *aa.Presence {
	p := new(aa.Presence)
	if b.yes() {
		p.BluStar = &aa.BluStar{Status: pick(b, aa.StatusAvailable, aa.StatusDoNotDisturb, aa.StatusOther), Display: b.text(), Timestamp: b.time(), Until: b.time()}
		if b.yes() {
			p.BluStar.Note = &pidf.Note{Lang: "Eng", Text: b.text()}
		}
	}
	if b.yes() {
		p.A400 = &aa.A400{Activities: b.activities("busy"), Timestamp: b.time()}
	}
	if b.yes() {
		p.ExternalUC = &aa.ExternalUC{Status: pick(b, aa.StatusBeRightBack, aa.StatusSignedOut), FreeText: b.text(), TelephoneEvent: pick(b, "", "on-the-phone")}
	}
	for i := range b.n(2) {
		a := aa.Appointment{ID: fmt.Sprint(i), State: pick(b, aa.CalendarBusy, aa.CalendarOutOfOffice), Subject: b.text(), Location: b.text(),
			From: b.moment(), End: b.moment(), AllDay: b.yes(), Private: b.yes(), Timestamp: b.time()}
		if b.yes() {
			n := b.n(60)
			a.ReminderOffset = &n
		}
		p.Calendar = append(p.Calendar, a)
	}
	return p
}
