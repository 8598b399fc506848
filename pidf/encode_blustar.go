package pidf

import (
	"cmp"
	"strconv"
)

func (w *writer) bluStarPresence(p *BluStarPresence) {
	w.raw(`<aa:presence`)
	w.attrs(p.Attrs, false)
	w.raw(`>`)
	n := count(p.BluStar != nil, p.A400 != nil, p.ExternalUC != nil) + len(p.Calendar)
	e := extras{left: p.placed(NSBluStar, n, n)}
	if p.BluStar != nil {
		w.next(&e)
		w.bluStar(p.BluStar)
	}
	if p.A400 != nil {
		w.next(&e)
		w.a400(p.A400)
	}
	if p.ExternalUC != nil {
		w.next(&e)
		w.externalUC(p.ExternalUC)
	}
	for i := range p.Calendar {
		w.next(&e)
		w.appointment(&p.Calendar[i])
	}
	w.rest(&e)
	w.raw(`</aa:presence>`)
}

func (w *writer) bluStar(b *BluStar) {
	w.raw(`<aa:blustar`)
	w.timeAttr("from", b.From)
	w.timeAttr("until", b.Until)
	w.attrs(b.Attrs, false)
	w.raw(`>`)
	n := 1 + count(b.Note != nil, w.hasTimestamp(b.Timestamp))
	e := extras{left: b.placed(NSBluStar, n, n)}
	w.next(&e)
	w.raw(`<aa:status`)
	w.optional("display", b.Display)
	w.attrs(b.leaf("status", 0), false)
	w.close("aa:status", string(cmp.Or(b.Status, StatusUnknown)))
	if b.Note != nil {
		w.next(&e)
		w.note("aa:note", b.Note)
	}
	w.timestamp(&e, &b.Extra, "aa:timestamp", "timestamp", b.Timestamp)
	w.rest(&e)
	w.raw(`</aa:blustar>`)
}

func (w *writer) a400(a *A400) {
	w.raw(`<aa:A400`)
	w.timeAttr("from", a.From)
	w.timeAttr("until", a.Until)
	w.attrs(a.Attrs, false)
	w.raw(`>`)
	n := 1 + count(w.hasTimestamp(a.Timestamp))
	e := extras{left: a.placed(NSBluStar, n, n)}
	activities := a.Activities
	if activities == nil {
		activities = new(Activities)
	}
	w.choices(&e, "rpid:activities", activities, "")
	w.timestamp(&e, &a.Extra, "aa:timestamp", "timestamp", a.Timestamp)
	w.rest(&e)
	w.raw(`</aa:A400>`)
}

func (w *writer) externalUC(u *ExternalUC) {
	w.raw(`<aa:externalUC`)
	w.timeAttr("from", u.From)
	w.timeAttr("until", u.Until)
	w.attrs(u.Attrs, false)
	w.raw(`>`)
	n := 4 + count(w.hasTimestamp(u.Timestamp))
	e := extras{left: u.placed(NSBluStar, n, n)}
	w.next(&e)
	w.leaf(&u.Extra, "aa:status", "status", 0, string(cmp.Or(u.Status, StatusUnknown)))
	w.next(&e)
	w.leaf(&u.Extra, "aa:freeText", "freeText", 0, u.FreeText)
	w.next(&e)
	w.leaf(&u.Extra, "aa:fwdDestination", "fwdDestination", 0, u.FwdDestination)
	w.next(&e)
	w.leaf(&u.Extra, "aa:telephoneEvent", "telephoneEvent", 0, u.TelephoneEvent)
	w.timestamp(&e, &u.Extra, "aa:timestamp", "timestamp", u.Timestamp)
	w.rest(&e)
	w.raw(`</aa:externalUC>`)
}

func (w *writer) appointment(a *Appointment) {
	w.raw(`<aa:calendar`)
	w.attrs(a.Attrs, false)
	w.raw(`>`)
	n := 4 + count(!a.From.IsZero(), !a.End.IsZero(), a.AllDay, a.Private, a.ReminderOffset != nil, w.hasTimestamp(a.Timestamp))
	e := extras{left: a.placed(NSBluStar, n, n)}
	x := &a.Extra
	w.next(&e)
	w.leaf(x, "aa:id", "id", 0, a.ID)
	w.next(&e)
	w.leaf(x, "aa:state", "state", 0, string(cmp.Or(a.State, CalendarUnknown)))
	w.next(&e)
	w.leaf(x, "aa:subject", "subject", 0, a.Subject)
	w.next(&e)
	w.leaf(x, "aa:location", "location", 0, a.Location)
	w.time(&e, x, "aa:from", "from", a.From)
	w.time(&e, x, "aa:end", "end", a.End)
	if a.AllDay {
		w.next(&e)
		w.leaf(x, "aa:allday", "allday", 0, "")
	}
	if a.Private {
		w.next(&e)
		w.leaf(x, "aa:private", "private", 0, "")
	}
	if a.ReminderOffset != nil {
		w.next(&e)
		w.leaf(x, "aa:reminder-offset", "reminder-offset", 0, strconv.Itoa(*a.ReminderOffset))
	}
	w.timestamp(&e, x, "aa:timestamp", "timestamp", a.Timestamp)
	w.rest(&e)
	w.raw(`</aa:calendar>`)
}

func (w *writer) line(l *Line) {
	w.raw(`<aa:line`)
	w.attrs(l.Attrs, false)
	w.raw(`>`)
	n := 2 + count(l.Forward != nil)
	e := extras{left: l.placed(NSBluStar, n, n)}
	w.next(&e)
	w.leaf(&l.Extra, "aa:DN", "DN", 0, l.DN)
	w.next(&e)
	w.leaf(&l.Extra, "aa:state", "state", 0, string(cmp.Or(l.State, LineUnknown)))
	if f := l.Forward; f != nil {
		w.next(&e)
		w.raw(`<aa:forward`)
		w.attr("type", cmp.Or(f.Type, "immediate"))
		w.attrs(f.Attrs, false)
		w.close("aa:forward", f.Destination)
	}
	w.rest(&e)
	w.raw(`</aa:line>`)
}
