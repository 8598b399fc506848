package msgraph

import (
	"encoding/json"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
)

// Deaf has readings taken as they come, also those that are the echo of a line: what would be without the guard.
func (t *Teams) Deaf() { t.deaf = true }

// ReadCalendar reads the answer to a calendar view.
func ReadCalendar(data []byte, location *time.Location) (found []pidf.Appointment, broken, err error) {
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
