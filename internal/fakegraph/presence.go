package fakegraph

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// SetPresence says what the user's own Teams client reports. The sequence number grows.
func (s *Server) SetPresence(name, availability, activity string) {
	s.change(name, func(u *user) { u.availability, u.activity = availability, activity })
}

// SetStatus sets the status message, as JSON has it, and whether the user is out of the office.
func (s *Server) SetStatus(name string, message any, away bool) {
	s.change(name, func(u *user) { u.status, u.away = message, away })
}

func (s *Server) change(name string, f func(*user)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[strings.ToLower(name)]
	f(u)
	s.sequence++
	u.sequence = fmt.Sprintf("A0B1%012X", s.sequence)
}

// Session returns what the session of an application shows for a user, "" where it has none.
func (s *Server) Session(name string) (activity string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.users[strings.ToLower(name)].sessions[s.ClientID]
	if !ok || !time.Now().Before(v.until) || s.ended(v) {
		return ""
	}
	return v.activity
}

// ended reports whether a session has been cleared, and is shown only for a while.
func (s *Server) ended(v session) bool { return v.from.IsZero() }

// rank orders what several sessions say (the last counts most).
var rank = []string{"", "PresenceUnknown", "Offline", "Away", "BeRightBack", "Available", "Busy", "DoNotDisturb"}

// shown is the presence that others see.
func (s *Server) shown(u *user) (availability, activity string) {
	availability, activity = u.availability, u.activity
	if availability == "" {
		availability, activity = "Offline", "Offline"
	}
	for _, v := range u.sessions {
		if time.Now().Before(v.until) && slices.Index(rank, v.availability) > slices.Index(rank, availability) {
			availability, activity = v.availability, cmp.Or(s.EchoActivity, v.activity)
		}
	}
	return availability, activity
}

const maxPresences = 650

// presences answers getPresencesByUserId. The order is that of nobody.
func (s *Server) presences(w http.ResponseWriter, r *http.Request) {
	var ask struct{ IDs []string }
	if json.NewDecoder(r.Body).Decode(&ask) != nil || len(ask.IDs) == 0 || len(ask.IDs) > maxPresences {
		fail(w, http.StatusBadRequest, "BadRequest", "ids")
		return
	}
	s.mu.Lock()
	list := make([]any, 0, len(ask.IDs))
	for _, id := range ask.IDs {
		if !uuid.MatchString(strings.ToLower(id)) {
			s.mu.Unlock()
			fail(w, http.StatusBadRequest, "BadRequest", "Invalid user id")
			return
		}
		u := s.users[strings.ToLower(id)]
		if u == nil {
			continue
		}
		availability, activity := s.shown(u)
		var sequence any
		if u.sequence != "" {
			sequence = u.sequence
		}
		list = append(list, map[string]any{
			"id": u.id, "availability": availability, "activity": activity, "sequenceNumber": sequence, "statusMessage": u.status,
			"outOfOfficeSettings": map[string]any{"message": nil, "isOutOfOffice": u.away}, "workLocation": nil,
		})
	}
	s.mu.Unlock()
	slices.Reverse(list)
	answer(w, r, "Collection(microsoft.graph.presence)", map[string]any{"value": list})
}

var minutes = regexp.MustCompile(`^PT(\d+)M$`)

// session sets or clears the presence session of an application.
func (s *Server) session(w http.ResponseWriter, r *http.Request, u *user, end bool) {
	var ask struct{ SessionID, Availability, Activity, ExpirationDuration string }
	if json.NewDecoder(r.Body).Decode(&ask) != nil || ask.SessionID != s.ClientID {
		fail(w, http.StatusBadRequest, "BadRequest", "sessionId")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := u.sessions[ask.SessionID]
	if ok = ok && time.Now().Before(old.until) && !s.ended(old); end {
		if !ok {
			fail(w, http.StatusNotFound, "NotFound", "The presence session does not exist.")
			return
		}
		old.from, old.until = time.Time{}, time.Now().Add(s.EchoLag)
		u.sessions[ask.SessionID] = old
		return
	}
	var n int
	if m := minutes.FindStringSubmatch(ask.ExpirationDuration); m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	pair := ask.Availability + "/" + ask.Activity
	if n < 5 || n > 240 || !slices.Contains([]string{"Available/Available", "Busy/InACall", "Busy/InAConferenceCall", "Away/Away"}, pair) {
		fail(w, http.StatusBadRequest, "BadRequest", "availability, activity or expirationDuration")
		return
	}
	now := time.Now()
	u.sessions[ask.SessionID] = session{ask.Availability, ask.Activity, now, now.Add(time.Duration(n) * time.Minute)}
}
