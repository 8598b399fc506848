package client

import (
	"context"
	"fmt"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// Publication is what a client says about its user.
type Publication struct {
	// Status is the user's; by default available. BluStar servers support
	// available, busy, do not disturb and signed out (§4.3).
	Status aa.Status
	// Note is the user's text, of at most Config.MaxNote bytes. An empty one
	// deletes it.
	Note string
	// Audio, Video and Message say what the client can do. Those that are empty
	// are left to the server: audio and message open, video closed.
	Audio, Video, Message pidf.Basic
	// AsDefault leaves a status that the user's other clients have published as
	// it is (§2.4): right for what a client says when it starts. Otherwise
	// Publish makes sure that the status counts. It makes a difference for the
	// first publication of a client only.
	AsDefault bool
}

// Publish publishes p in place of what the client published before, and keeps it
// alive until SignOut or Close. When it returns nil the server has accepted it.
//
// A server ignores the status in the first PUBLISH of a client whose user has one
// already (§2.4); unless p.AsDefault, a second PUBLISH with the entity-tag that
// the first was given follows.
func (c *Client) Publish(ctx context.Context, p Publication) error {
	if err := p.check(c.cfg.MaxNote); err != nil {
		return err
	}
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return c.publications.publish(ctx, p)
}

func (p *Publication) check(maxNote int) error {
	if p.Status == "" {
		p.Status = aa.StatusAvailable
	}
	if len(p.Note) > maxNote {
		return fmt.Errorf("client: a note of %d bytes, at most %d are possible", len(p.Note), maxNote)
	}
	return nil
}

// document makes the body: what a BluStar client publishes (§4.3), or plain RPID,
// which servers of the other dialect understand.
func (p Publication) document(entity string, now time.Time, standard bool) []byte {
	doc := pidf.Presence{Entity: entity}
	for _, service := range []struct {
		id    string
		basic pidf.Basic
	}{{"audio", p.Audio}, {"video", p.Video}, {"message", p.Message}} {
		if service.basic != "" {
			doc.Tuples = append(doc.Tuples, pidf.Tuple{ID: service.id, Basic: service.basic})
		}
	}
	if !standard {
		doc.Persons = []pidf.Person{{
			ID: entity,
			Extra: aa.Extra(&aa.Presence{BluStar: &aa.BluStar{
				Status:    p.Status,
				Note:      &pidf.Note{Lang: "Eng", Text: p.Note},
				Timestamp: now.UTC(),
			}}),
		}}
		return doc.Append(nil, pidf.BluStarDialect)
	}
	if len(doc.Tuples) == 0 {
		basic := pidf.Open
		if p.Status == aa.StatusSignedOut {
			basic = pidf.Closed
		}
		doc.Tuples = []pidf.Tuple{{ID: "client", Basic: basic, Timestamp: now.UTC()}}
	}
	person := pidf.Person{ID: "person", Activities: &pidf.Activities{Values: []pidf.Choice{p.activity()}}}
	if p.Note != "" {
		person.Notes = []pidf.Note{{Text: p.Note}}
	}
	doc.Persons = []pidf.Person{person}
	return doc.Append(nil, pidf.StandardDialect)
}

// activity is the status in RPID, as §3.2 maps it.
func (p Publication) activity() pidf.Choice {
	switch p.Status {
	case aa.StatusBusy:
		return pidf.Choice{Name: "busy"}
	case aa.StatusAway, aa.StatusInactive, aa.StatusBeRightBack:
		return pidf.Choice{Name: "away"}
	case aa.StatusDoNotDisturb:
		return pidf.Choice{Name: "other", Text: "unavailable"}
	}
	return pidf.Choice{Name: "other", Text: string(p.Status)}
}
