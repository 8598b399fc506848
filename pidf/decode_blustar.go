package pidf

func (d *decoder) bluStarPresence() *BluStarPresence {
	p := new(BluStarPresence)
	p.Attrs = d.takeRest()
	n := 0
	for d.child(&p.Extra, n) {
		if d.bluStarPresenceChild(p) {
			n++
		} else if d.err == nil {
			d.keep(&p.Extra, n)
		}
	}
	return p
}

func (d *decoder) bluStarPresenceChild(p *BluStarPresence) bool {
	switch d.name.local {
	case "blustar":
		if d.is(idBluStar) && d.first(p.BluStar == nil) {
			p.BluStar = d.bluStar()
			return true
		}
	case "A400":
		if d.is(idBluStar) && d.first(p.A400 == nil) {
			p.A400 = d.a400()
			return true
		}
	case "externalUC":
		if d.is(idBluStar) && d.first(p.ExternalUC == nil) {
			p.ExternalUC = d.externalUC()
			return true
		}
	case "calendar":
		if d.is(idBluStar) {
			p.Calendar = append(p.Calendar, Appointment{})
			d.appointment(&p.Calendar[len(p.Calendar)-1])
			return true
		}
	}
	return false
}

func (d *decoder) bluStar() *BluStar {
	b := new(BluStar)
	b.From, b.Until = d.takeTime("from"), d.takeTime("until")
	b.Attrs = d.takeRest()
	n := 0
	for d.child(&b.Extra, n) {
		if d.bluStarChild(b) {
			n++
		} else if d.err == nil {
			d.keep(&b.Extra, n)
		}
	}
	return b
}

func (d *decoder) bluStarChild(b *BluStar) bool {
	switch d.name.local {
	case "status":
		display := d.takeString("display")
		if !d.is(idBluStar) || !d.enum(&b.Extra, "status", (*string)(&b.Status), bluStarStatuses) {
			return false
		}
		b.Display = display
		return true
	case "note":
		var n Note
		if !d.is(idBluStar) || !d.first(b.Note == nil) || !d.note(&n) {
			return false
		}
		b.Note = &n
		return true
	case "timestamp":
		return d.is(idBluStar) && d.timestamp(&b.Extra, "timestamp", &b.Timestamp)
	}
	return false
}

func (d *decoder) a400() *A400 {
	a := new(A400)
	a.From, a.Until = d.takeTime("from"), d.takeTime("until")
	a.Attrs = d.takeRest()
	n := 0
	for d.child(&a.Extra, n) {
		switch {
		case d.name.local == "activities" && d.is(idRPID) && d.first(a.Activities == nil):
			a.Activities = d.choices()
			n++
		case d.name.local == "timestamp" && d.is(idBluStar) && d.timestamp(&a.Extra, "timestamp", &a.Timestamp):
			n++
		case d.err == nil:
			d.keep(&a.Extra, n)
		}
	}
	return a
}

func (d *decoder) externalUC() *ExternalUC {
	u := new(ExternalUC)
	u.From, u.Until = d.takeTime("from"), d.takeTime("until")
	u.Attrs = d.takeRest()
	n := 0
	for d.child(&u.Extra, n) {
		if d.externalUCChild(u) {
			n++
		} else if d.err == nil {
			d.keep(&u.Extra, n)
		}
	}
	return u
}

func (d *decoder) externalUCChild(u *ExternalUC) bool {
	switch d.name.local {
	case "status":
		return d.is(idBluStar) && d.enum(&u.Extra, "status", (*string)(&u.Status), statuses)
	case "freeText":
		return d.is(idBluStar) && d.once(&u.Extra, "freeText", &u.FreeText)
	case "fwdDestination":
		return d.is(idBluStar) && d.trimmed(&u.Extra, "fwdDestination", &u.FwdDestination)
	case "telephoneEvent":
		return d.is(idBluStar) && d.trimmed(&u.Extra, "telephoneEvent", &u.TelephoneEvent)
	case "timestamp":
		return d.is(idBluStar) && d.timestamp(&u.Extra, "timestamp", &u.Timestamp)
	}
	return false
}

func (d *decoder) appointment(a *Appointment) {
	a.Attrs = d.takeRest()
	n := 0
	for d.child(&a.Extra, n) {
		if d.appointmentChild(a) {
			n++
		} else if d.err == nil {
			d.keep(&a.Extra, n)
		}
	}
}

func (d *decoder) appointmentChild(a *Appointment) bool {
	switch d.name.local {
	case "id":
		return d.is(idBluStar) && d.trimmed(&a.Extra, "id", &a.ID) // §1.3 and §3 print it as one space
	case "state":
		return d.is(idBluStar) && d.enum(&a.Extra, "state", (*string)(&a.State), calendarStates)
	case "subject":
		return d.is(idBluStar) && d.once(&a.Extra, "subject", &a.Subject)
	case "location":
		return d.is(idBluStar) && d.once(&a.Extra, "location", &a.Location)
	case "from":
		return d.is(idBluStar) && d.timestamp(&a.Extra, "from", &a.From)
	case "end":
		return d.is(idBluStar) && d.timestamp(&a.Extra, "end", &a.End)
	case "allday":
		return d.is(idBluStar) && d.flag(&a.Extra, "allday", &a.AllDay)
	case "private":
		return d.is(idBluStar) && d.flag(&a.Extra, "private", &a.Private)
	case "reminder-offset":
		return d.is(idBluStar) && d.reminder(a)
	case "timestamp":
		return d.is(idBluStar) && d.timestamp(&a.Extra, "timestamp", &a.Timestamp)
	}
	return false
}

func (d *decoder) reminder(a *Appointment) bool {
	if !d.first(a.ReminderOffset == nil) {
		return false
	}
	m := d.mark()
	attrs := d.takeRest()
	var v int
	s, ok := d.text()
	if ok {
		v, ok = parseInt(s)
	}
	if !ok {
		return d.back(m, "no number")
	}
	a.ReminderOffset = &v
	if attrs != nil {
		a.setLeaf("reminder-offset", 0, attrs)
	}
	return true
}

// flag reads an element that says yes by being there. One that says false in so many words is not set.
func (d *decoder) flag(x *Extra, name string, dst *bool) bool {
	if !d.first(!*dst) {
		return false
	}
	from := d.from
	s, ok := d.leaf(x, name, 0)
	if !ok {
		return false
	}
	switch trim(s) {
	case "":
		*dst = true
		return true
	case "false", "0", "no":
	default:
		*dst = true
	}
	d.from = from
	d.warn(name + " with content")
	return true
}

// trimmed is once for a value that space around it is no part of.
func (d *decoder) trimmed(x *Extra, name string, dst *string) bool {
	from := d.from
	if !d.once(x, name, dst) {
		return false
	}
	if t := trim(*dst); t != *dst {
		d.from = from
		d.warn("space around " + name + " removed")
		*dst = t
	}
	return true
}

func (d *decoder) line() *Line {
	l := new(Line)
	l.Attrs = d.takeRest()
	n := 0
	for d.child(&l.Extra, n) {
		if d.lineChild(l) {
			n++
		} else if d.err == nil {
			d.keep(&l.Extra, n)
		}
	}
	return l
}

func (d *decoder) lineChild(l *Line) bool {
	switch d.name.local {
	case "DN":
		return d.is(idBluStar) && d.trimmed(&l.Extra, "DN", &l.DN)
	case "state":
		return d.is(idBluStar) && d.enum(&l.Extra, "state", (*string)(&l.State), lineStates)
	case "forward":
		return d.is(idBluStar) && d.first(l.Forward == nil) && d.forward(l)
	}
	return false
}

func (d *decoder) forward(l *Line) bool {
	m := d.mark()
	f := Forward{Type: collapse(d.takeString("type"))}
	f.Attrs = d.takeRest()
	s, ok := d.text()
	if !ok {
		return d.back(m, "an element inside a text")
	}
	f.Destination = trim(s)
	l.Forward = &f
	return true
}
