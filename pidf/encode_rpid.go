package pidf

import (
	"slices"
	"strconv"
)

// choices writes an element of the shape of activities. Values in foreign namespaces stand among its own.
//
// Otherwise is written where it would be empty and its schema does not allow that.
func (w *writer) choices(e *extras, tag string, a *Activities, otherwise string) {
	if a == nil {
		return
	}
	w.next(e)
	w.b = append(w.b, '<')
	w.b = append(w.b, tag...)
	w.timeAttr("from", a.From)
	w.timeAttr("until", a.Until)
	w.rpidID(a.ID)
	w.attrs(a.Attrs, false)
	if otherwise == "" && len(a.Notes)+len(a.Values)+len(a.Extensions) == 0 {
		w.raw(`/>`)
		return
	}
	w.raw(`>`)
	first, last := len(a.Notes), len(a.Notes)+len(a.Values)
	if tag == privacyTag {
		first = last
	}
	in := extras{left: a.placed(NSRPID, first, last)}
	w.notes(&in, "rpid:note", a.Notes)
	if tag == privacyTag && len(a.Values) > 1 {
		w.privacyValues(&in, a)
	} else {
		for i := range a.Values {
			w.next(&in)
			w.choice(a, i)
		}
	}
	w.rest(&in)
	if otherwise != "" && len(a.Values) == 0 && !slices.ContainsFunc(a.Extensions, isElement) {
		w.raw(otherwise)
	}
	w.end(tag)
}

// privacyTag is the one element of its shape whose schema orders its values, and has extensions behind them.
const privacyTag = "rpid:privacy"

func (w *writer) privacyValues(e *extras, a *Activities) {
	for _, name := range [...]string{"audio", "text", "video", ""} {
		for i := range a.Values {
			known := a.Values[i].Name == "audio" || a.Values[i].Name == "text" || a.Values[i].Name == "video"
			if a.Values[i].Name == name || name == "" && !known {
				w.next(e)
				w.choice(a, i)
			}
		}
	}
}

func isElement(e Extension) bool { return e.name.Local != "" }

func (w *writer) choice(a *Activities, i int) {
	c := &a.Values[i]
	name := c.Name
	if !isNCName(name) {
		name = "unknown"
	}
	w.raw(`<rpid:`)
	w.raw(name)
	w.optional("xml:lang", c.Lang)
	if a.leaves != nil {
		w.attrs(a.leaf("", i), false)
	}
	if c.Text == "" {
		w.raw(`/>`)
		return
	}
	w.raw(`>`)
	w.b = appendEscaped(w.b, c.Text)
	w.raw(`</rpid:`)
	w.raw(name)
	w.raw(`>`)
}

func (w *writer) placeIs(e *extras, p *PlaceIs) {
	if p == nil {
		return
	}
	w.next(e)
	w.raw(`<rpid:place-is`)
	w.timeAttr("from", p.From)
	w.timeAttr("until", p.Until)
	w.rpidID(p.ID)
	w.attrs(p.Attrs, false)
	w.raw(`>`)
	n := len(p.Notes) + count(p.Audio != "", p.Video != "", p.Text != "")
	in := extras{left: p.placed(NSRPID, 0, n)}
	w.notes(&in, "rpid:note", p.Notes)
	w.medium(&in, "rpid:audio", p.Audio)
	w.medium(&in, "rpid:video", p.Video)
	w.medium(&in, "rpid:text", p.Text)
	w.rest(&in)
	w.raw(`</rpid:place-is>`)
}

func (w *writer) medium(e *extras, tag, value string) {
	if value == "" {
		return
	}
	if !isNCName(value) {
		value = "unknown"
	}
	w.next(e)
	w.raw(`<`)
	w.raw(tag)
	w.raw(`><rpid:`)
	w.raw(value)
	w.raw(`/>`)
	w.end(tag)
}

func (w *writer) statusIcon(e *extras, i *StatusIcon) {
	if i == nil {
		return
	}
	w.next(e)
	w.raw(`<rpid:status-icon`)
	w.timeAttr("from", i.From)
	w.timeAttr("until", i.Until)
	w.rpidID(i.ID)
	w.attrs(i.Attrs, false)
	w.close("rpid:status-icon", i.URI)
}

func (w *writer) timeOffset(e *extras, o *TimeOffset) {
	if o == nil {
		return
	}
	w.next(e)
	w.raw(`<rpid:time-offset`)
	w.timeAttr("from", o.From)
	w.timeAttr("until", o.Until)
	w.optional("description", o.Description)
	w.rpidID(o.ID)
	w.attrs(o.Attrs, false)
	w.raw(`>`)
	w.b = strconv.AppendInt(w.b, int64(o.Minutes), 10)
	w.raw(`</rpid:time-offset>`)
}

func (w *writer) userInput(e *extras, u *UserInput) {
	if u == nil {
		return
	}
	w.next(e)
	w.raw(`<rpid:user-input`)
	if u.IdleThreshold != 0 {
		w.attr("idle-threshold", strconv.Itoa(u.IdleThreshold))
	}
	w.timeAttr("last-input", u.LastInput)
	w.rpidID(u.ID)
	w.attrs(u.Attrs, false)
	w.close("rpid:user-input", u.State)
}
