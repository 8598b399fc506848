package pidf

import (
	"cmp"
	"strconv"
)

func (c *collector) presence(p *Presence) {
	c.in("presence", func() {
		c.say("@entity", p.Entity)
		var tuples, devices, persons steps
		for i := range p.Tuples {
			c.in(tuples.next("tuple", p.Tuples[i].ID), func() { c.tuple(&p.Tuples[i]) })
		}
		c.notes(p.Notes)
		for i := range p.Devices {
			c.in(devices.next("device", p.Devices[i].ID), func() { c.device(&p.Devices[i]) })
		}
		for i := range p.Persons {
			c.in(persons.next("person", p.Persons[i].ID), func() { c.person(&p.Persons[i]) })
		}
		c.extra(&p.Extra)
	})
}

func (c *collector) tuple(t *Tuple) {
	c.say("status/basic", string(t.Basic))
	c.in("status", func() { c.extra(&t.Status) })
	for _, id := range t.DeviceIDs {
		c.say("deviceID", id)
	}
	c.maybe("class", t.Class)
	c.choices("privacy", (*Activities)(t.Privacy))
	c.choices("relationship", (*Activities)(t.Relationship))
	c.choices("service-class", (*Activities)(t.ServiceClass))
	c.statusIcon(t.StatusIcon)
	c.userInput(t.UserInput)
	if q := t.Contact; q != nil {
		c.say("contact", q.URI)
		c.in("contact", func() {
			c.maybe("@priority", q.Priority)
			c.extra(&q.Extra)
		})
	}
	c.notes(t.Notes)
	c.extra(&t.Extra)
}

func (c *collector) device(d *Device) {
	c.say("deviceID", d.DeviceID)
	if l := d.Line; l != nil {
		c.in("line", func() {
			c.say("DN", l.DN)
			c.say("state", string(cmp.Or(l.State, LineUnknown)))
			if f := l.Forward; f != nil {
				c.say("forward", f.Destination)
				c.in("forward", func() {
					c.say("@type", cmp.Or(f.Type, "immediate"))
					c.extra(&f.Extra)
				})
			}
			c.extra(&l.Extra)
		})
	}
	c.maybe("class", d.Class)
	c.userInput(d.UserInput)
	c.notes(d.Notes)
	c.extra(&d.Extra)
}

func (c *collector) person(p *Person) {
	c.say("@id", p.ID)
	c.choices("activities", p.Activities)
	if p.BluStar != nil {
		c.in("presence", func() { c.bluStarPresence(p.BluStar) })
	}
	c.maybe("class", p.Class)
	c.choices("mood", (*Activities)(p.Mood))
	if q := p.PlaceIs; q != nil {
		c.in("place-is", func() {
			c.interval(q.From, q.Until)
			c.notes(q.Notes)
			c.maybe("audio", q.Audio)
			c.maybe("video", q.Video)
			c.maybe("text", q.Text)
			c.extra(&q.Extra)
		})
	}
	c.choices("place-type", (*Activities)(p.PlaceType))
	c.choices("privacy", (*Activities)(p.Privacy))
	c.choices("sphere", (*Activities)(p.Sphere))
	c.statusIcon(p.StatusIcon)
	if o := p.TimeOffset; o != nil {
		c.say("time-offset", strconv.Itoa(o.Minutes))
		c.in("time-offset", func() {
			c.interval(o.From, o.Until)
			c.maybe("@description", o.Description)
			c.extra(&o.Extra)
		})
	}
	c.userInput(p.UserInput)
	c.notes(p.Notes)
	c.extra(&p.Extra)
}

func (c *collector) bluStarPresence(p *BluStarPresence) {
	if b := p.BluStar; b != nil {
		c.in("blustar", func() {
			c.say("status", string(cmp.Or(b.Status, StatusUnknown)))
			c.maybe("status/@display", b.Display)
			if b.Note != nil {
				c.note(b.Note)
			}
			c.interval(b.From, b.Until)
			c.extra(&b.Extra)
		})
	}
	if a := p.A400; a != nil {
		c.in("A400", func() {
			c.choices("activities", a.Activities)
			c.interval(a.From, a.Until)
			c.extra(&a.Extra)
		})
	}
	if u := p.ExternalUC; u != nil {
		c.in("externalUC", func() {
			c.say("status", string(cmp.Or(u.Status, StatusUnknown)))
			c.maybe("freeText", u.FreeText)
			c.maybe("fwdDestination", u.FwdDestination)
			c.maybe("telephoneEvent", u.TelephoneEvent)
			c.interval(u.From, u.Until)
			c.extra(&u.Extra)
		})
	}
	var calendar steps
	for i := range p.Calendar {
		c.in(calendar.next("calendar", p.Calendar[i].ID), func() { c.appointment(&p.Calendar[i]) })
	}
	c.extra(&p.Extra)
}

func (c *collector) appointment(a *Appointment) {
	c.say("state", string(cmp.Or(a.State, CalendarUnknown)))
	c.maybe("subject", a.Subject)
	c.maybe("location", a.Location)
	c.time("from", a.From)
	c.time("end", a.End)
	if a.AllDay {
		c.say("allday", "")
	}
	if a.Private {
		c.say("private", "")
	}
	if a.ReminderOffset != nil {
		c.say("reminder-offset", strconv.Itoa(*a.ReminderOffset))
	}
	c.extra(&a.Extra)
}
