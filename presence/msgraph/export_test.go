package msgraph

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// ReadCalendar reads the answer to a calendar view.
func ReadCalendar(data []byte, location *time.Location) (found []aa.Appointment, broken, err error) {
	var page collection
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, nil, err
	}
	list, err := page.list()
	if err != nil {
		return nil, nil, err
	}
	found, broken = (&reader{location: location}).events(list)
	return found, broken, nil
}

// ReadPresence reads the answer to getPresencesByUserId.
func ReadPresence(data []byte) (map[string]presence.ExternalState, error) {
	var page collection
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, err
	}
	list, err := page.list()
	if err != nil {
		return nil, err
	}
	found, _ := readPresences(list)
	t := &Teams{cfg: TeamsConfig{Table: DefaultTable(), Away: "Out of office"}}
	states := make(map[string]presence.ExternalState)
	for i := range found {
		states[found[i].ID] = t.state(&found[i], time.Unix(0, 0))
	}
	return states, nil
}

// ReadSchedules reads the answer to getSchedule.
func ReadSchedules(data []byte, location *time.Location) (found []aa.Appointment, err error) {
	var page collection
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, err
	}
	list, err := page.list()
	if err != nil {
		return nil, err
	}
	r := &reader{location: location}
	for _, data := range list {
		var s schedule
		if json.Unmarshal(data, &s) == nil {
			more, _, _ := r.items(&s)
			found = append(found, more...)
		}
	}
	return found, nil
}

// ReadFailure reads an answer that is no success, of Graph and of the login service.
func ReadFailure(status int, header http.Header, body []byte) (graph, login error) {
	a := &answer{op: "GET /", status: status, header: header, body: body}
	return a.graphError(), tokenError(a)
}

// ReadToken reads an answer with a token.
func ReadToken(body []byte) error {
	_, err := readToken(body, time.Unix(0, 0))
	return err
}
