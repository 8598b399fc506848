package msgraph

import (
	"encoding/json"
	"errors"
	"html"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/openblustar/blustar/internal/calendar"
)

// reading is the presence of one user, as Graph answers it.
type reading struct {
	ID           string `json:"id"`
	Availability string `json:"availability"`
	Activity     string `json:"activity"`
	// Sequence grows with each change of the user's presence, and compares as text.
	Sequence string `json:"sequenceNumber"`
	Status   struct {
		Message struct {
			Content string `json:"content"`
			Type    string `json:"contentType"`
		} `json:"message"`
		Expires *zonedTime `json:"expiryDateTime"`
	} `json:"statusMessage"`
	OutOfOffice struct {
		Is bool `json:"isOutOfOffice"`
	} `json:"outOfOfficeSettings"`
}

// readPresences reads the list of an answer. One that is broken costs itself only.
func readPresences(list []json.RawMessage) (found []reading, broken int) {
	for _, data := range list {
		var r reading
		if json.Unmarshal(data, &r) != nil || r.ID == "" {
			broken++
			continue
		}
		r.ID = strings.ToLower(r.ID)
		found = append(found, r)
	}
	return found, broken
}

// collection is a list of Graph, or a page of it. An answer without one is not an empty list.
type collection struct {
	Value *[]json.RawMessage `json:"value"`
	Next  string             `json:"@odata.nextLink"`
}

var errNoList = errors.New("msgraph: the answer has no list")

func (c *collection) list() ([]json.RawMessage, error) {
	if c.Value == nil {
		return nil, errNoList
	}
	return *c.Value, nil
}

// is reports whether the activity is one of these.
func (r *reading) is(activities ...string) bool {
	for _, a := range activities {
		if strings.EqualFold(r.Activity, a) {
			return true
		}
	}
	return false
}

// call reports whether the user speaks, by Teams or, as far as one can tell, because a line said
// so.
func (r *reading) call() bool {
	return r.is("InACall", "InAConferenceCall", "Presenting") || strings.EqualFold(r.Availability, "InACall")
}

// echo reports whether this may be what a [Writer] wrote: nothing in it tells who did.
func (r *reading) echo() bool {
	return strings.EqualFold(r.Availability, "Busy") && r.is("InACall", "Busy")
}

// above reports whether this goes before the session of a [Writer].
func (r *reading) above() bool { return strings.EqualFold(r.Availability, "DoNotDisturb") }

// away reports whether the user is out of the office.
func (r *reading) away() bool {
	return r.OutOfOffice.Is || r.is("OutOfOffice") || strings.EqualFold(r.Availability, "OutOfOffice")
}

// message is what the user has written, unless it has expired.
func (r *reading) message(now time.Time, zones *calendar.Zones) string {
	if e := r.Status.Expires; e != nil && e.DateTime != "" {
		if at, err := e.instant(zones); err == nil && !now.Before(at) {
			return ""
		}
	}
	text := r.Status.Message.Content
	if strings.EqualFold(r.Status.Message.Type, "html") {
		text = plainText(text)
	}
	return oneLine(text)
}

// plainText takes the tags out of HTML, each of which separates words where it ends a paragraph or
// a line.
func plainText(s string) string {
	var b strings.Builder
	for {
		text, rest, more := strings.Cut(s, "<")
		b.WriteString(text)
		if !more {
			return html.UnescapeString(b.String())
		}
		tag, after, closed := strings.Cut(rest, ">")
		if !closed {
			return html.UnescapeString(b.String())
		}
		for _, breaks := range []string{"p", "/p", "br", "br/", "div", "/div", "li", "/li"} {
			if name, _, _ := strings.Cut(strings.ToLower(tag), " "); name == breaks {
				b.WriteByte(' ')
			}
		}
		s = after
	}
}

// maxText is how many bytes a text of a presence may have.
const maxText = 1024

// oneLine makes white space and what cannot be shown single spaces, and bounds the text.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, " "), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF
	}), " ")
	return cut(s, maxText)
}

// cut bounds a text to n bytes, without cutting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
