package fakegraph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Event is an event as Graph writes it.
type Event map[string]any

// NewEvent returns one that stands alone. Its further members are those of a usual one.
func NewEvent(id, subject string, from, end time.Time) Event {
	at := func(t time.Time) map[string]any {
		return map[string]any{"dateTime": t.UTC().Format("2006-01-02T15:04:05.0000000"), "timeZone": "UTC"}
	}
	return Event{
		"@odata.etag": `W/"1"`, "id": id, "type": "singleInstance", "seriesMasterId": nil, "subject": subject, "sensitivity": "normal",
		"showAs": "busy", "isAllDay": false, "isCancelled": false, "originalStartTimeZone": "UTC",
		"lastModifiedDateTime": "2026-01-02T03:04:05.678Z",
		"responseStatus":       map[string]any{"response": "organizer", "time": "0001-01-01T00:00:00Z"},
		"location":             map[string]any{"displayName": "Room 1", "locationType": "default"},
		"start":                at(from), "end": at(end),
	}
}

// With returns the event with another member.
func (e Event) With(key string, value any) Event {
	e[key] = value
	return e
}

// stored is an event, and when it is. Whole days are taken as they are written.
type stored struct {
	Event
	from, end time.Time
}

func store(e Event) stored {
	read := func(key string) time.Time {
		at, _ := e[key].(map[string]any)
		text, _ := at["dateTime"].(string)
		t, _ := time.Parse("2006-01-02T15:04:05", text)
		return t
	}
	return stored{e, read("start"), read("end")}
}

// within reports whether an event is in a window.
func (e stored) within(from, to time.Time) bool { return !e.end.Before(from) && e.from.Before(to) }

// maxOpen is how many requests of an application for one mailbox Graph serves at once.
const maxOpen = 4

// calendar answers a calendar view, or its delta, page by page.
func (s *Server) calendar(w http.ResponseWriter, r *http.Request, u *user, delta bool) {
	if !u.mailbox {
		fail(w, http.StatusNotFound, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
		return
	}
	if s.enter(u.id) > maxOpen {
		s.leave(u.id)
		w.Header().Set("Retry-After", "10")
		fail(w, http.StatusTooManyRequests, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.")
		return
	}
	defer s.leave(u.id)
	q := r.URL.Query()
	if q.Get("$deltatoken") == "old" {
		fail(w, http.StatusGone, "SyncStateNotFound", "The sync state generation is not found.")
		return
	}
	if token := q.Get("$deltatoken"); token != "" {
		s.page(w, r, nil, 0, delta)
		return
	}
	from, errFrom := time.Parse(time.RFC3339, q.Get("startDateTime"))
	to, errTo := time.Parse(time.RFC3339, q.Get("endDateTime"))
	prefer := strings.Join(r.Header.Values("Prefer"), ", ")
	skip, _ := strconv.Atoi(q.Get("$skip"))
	if skip > 0 && !strings.Contains(prefer, "outlook.timezone") {
		// Where a client forgets it for the further pages, it gets the zone of the mailbox.
		prefer = `outlook.timezone="UTC"`
	}
	if errFrom != nil || errTo != nil || !to.After(from) || !strings.Contains(prefer, `outlook.timezone="UTC"`) {
		fail(w, http.StatusBadRequest, "ErrorInvalidParameter", "This request requires a time window.")
		return
	}
	var events []Event
	s.mu.Lock()
	for _, e := range u.events {
		if e.within(from, to) {
			events = append(events, e.Event)
		}
	}
	s.mu.Unlock()
	s.page(w, r, events, skip, delta)
}

// page answers a page of events, with a link to the next on this server.
func (s *Server) page(w http.ResponseWriter, r *http.Request, events []Event, skip int, delta bool) {
	size := s.PageSize
	if size == 0 {
		size = 200
	}
	if top, err := strconv.Atoi(r.URL.Query().Get("$top")); err == nil && top > 0 {
		size = min(size, top)
	}
	body := map[string]any{"value": events[min(skip, len(events)):min(skip+size, len(events))]}
	if len(events) == 0 {
		body["value"] = []any{}
	}
	link := func(set, value string) string {
		q := r.URL.Query()
		q.Set(set, value)
		return origin(r) + r.URL.Path + "?" + q.Encode()
	}
	switch {
	case skip+size < len(events):
		body["@odata.nextLink"] = link("$skip", strconv.Itoa(skip+size))
	case delta:
		body["@odata.deltaLink"] = origin(r) + r.URL.Path + "?" + url.Values{"$deltatoken": {"new"}}.Encode()
	}
	answer(w, r, "Collection(event)", body)
}

func (s *Server) enter(mailbox string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[mailbox]++
	return s.open[mailbox]
}

func (s *Server) leave(mailbox string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[mailbox]--
}

// maxSchedules is how many mailboxes one getSchedule may name.
const maxSchedules = 20

// schedule answers getSchedule.
func (s *Server) schedule(w http.ResponseWriter, r *http.Request) {
	type zoned struct{ DateTime, TimeZone string }
	var ask struct {
		Schedules          []string
		StartTime, EndTime zoned
		Interval           int `json:"availabilityViewInterval"`
	}
	err := json.NewDecoder(r.Body).Decode(&ask)
	from, errFrom := time.Parse("2006-01-02T15:04:05", ask.StartTime.DateTime)
	to, errTo := time.Parse("2006-01-02T15:04:05", ask.EndTime.DateTime)
	switch {
	case err != nil, errFrom != nil, errTo != nil, ask.StartTime.TimeZone != "UTC", ask.Interval < 5, ask.Interval > 1440,
		len(ask.Schedules) == 0, to.Sub(from) >= 62*24*time.Hour:
		fail(w, http.StatusBadRequest, "ErrorInvalidParameter", "getSchedule")
		return
	case len(ask.Schedules) > maxSchedules:
		fail(w, http.StatusBadRequest, "ErrorInvalidParameter", fmt.Sprintf("At most %d schedules.", maxSchedules))
		return
	}
	list := []any{}
	for _, name := range ask.Schedules {
		u := s.byMail(name)
		if u == nil {
			list = append(list, map[string]any{"scheduleId": name, "availabilityView": "", "scheduleItems": []any{}, "error": map[string]any{
				"message": "Unable to resolve e-mail address " + name + " to an Active Directory object.", "responseCode": "ErrorMailRecipientNotFound",
			}})
			continue
		}
		items := []any{}
		s.mu.Lock()
		for _, e := range u.events {
			private := e.Event["sensitivity"] == "private"
			if !e.within(from, to) || e.Event["isCancelled"] == true {
				continue
			}
			item := map[string]any{"status": e.Event["showAs"], "start": e.Event["start"], "end": e.Event["end"], "isPrivate": private}
			if !private || s.PrivateTexts {
				item["subject"] = e.Event["subject"]
				if where, ok := e.Event["location"].(map[string]any); ok {
					item["location"] = where["displayName"]
				}
			}
			items = append(items, item)
		}
		s.mu.Unlock()
		list = append(list, map[string]any{"scheduleId": name, "availabilityView": "0", "scheduleItems": items})
	}
	answer(w, r, "Collection(microsoft.graph.scheduleInformation)", map[string]any{"value": list})
}

func (s *Server) byMail(mail string) *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if strings.EqualFold(u.mail, mail) {
			return u
		}
	}
	return nil
}
