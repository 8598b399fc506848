package console

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
)

const (
	typePIDF = pidf.TypePIDF
	typeJSON = "application/json"
)

// presenceJSON is GET /v1/presence/{address} as JSON. It shows what watchers are
// sent: nothing of private appointments but their times and state.
type presenceJSON struct {
	Entity   string                `json:"entity"`
	Status   consolidation.Status  `json:"status"`
	Note     string                `json:"note"`
	Services map[string]pidf.Basic `json:"services"` // audio, video, message, global
	Devices  []deviceJSON          `json:"devices"`
	BluStar  blustarJSON           `json:"blustar"` // what the user published last
	Calendar []appointment         `json:"calendar"`
	External *external             `json:"external"` // null where there is none
}

type deviceJSON struct {
	DN      string       `json:"dn"`
	State   aa.LineState `json:"state"`
	Forward string       `json:"forward"`
}

type blustarJSON struct {
	Status    aa.Status `json:"status"`
	Note      string    `json:"note"`
	Timestamp stamp     `json:"timestamp"`
}

// getPresence is GET /v1/presence/{address}.
func (c *Console) getPresence(w http.ResponseWriter, r *http.Request) error {
	view, err := c.cfg.Server.Presence(r.Context(), r.PathValue("address"))
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if prefers(r.Header.Values("Accept"), typePIDF, typeJSON) == typeJSON {
		writeJSON(w, http.StatusOK, newPresenceJSON(view))
		return nil
	}
	w.Header().Set("Content-Type", typePIDF)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(addressed(view).Append(nil, pidf.BluStarDialect)) // the client has gone
	return nil
}

// addressed returns the document as a watcher of the address that was asked for gets it.
func addressed(v presence.Inspection) *pidf.Presence {
	doc := *v.Document
	doc.Entity, doc.Persons = v.Entity, slices.Clone(doc.Persons)
	for i := range doc.Persons {
		if doc.Persons[i].ID == v.Document.Entity {
			doc.Persons[i].ID = v.Entity
		}
	}
	return &doc
}

func newPresenceJSON(v presence.Inspection) presenceJSON {
	p := presenceJSON{
		Entity:   v.Entity,
		Status:   v.Result.Status,
		Note:     v.Result.Note,
		Services: make(map[string]pidf.Basic),
		Devices:  []deviceJSON{},
		BluStar:  blustarJSON{Status: aa.StatusUnknown},
		Calendar: []appointment{},
	}
	for _, t := range v.Document.Tuples {
		name, _, _ := strings.Cut(t.ID, " ") // "global service"
		p.Services[name] = t.Basic
	}
	for _, d := range v.Document.Devices {
		line := aa.LineOf(&d)
		if line == nil {
			continue
		}
		device := deviceJSON{DN: line.DN, State: line.State}
		if line.Forward != nil {
			device.Forward = line.Forward.Destination
		}
		p.Devices = append(p.Devices, device)
	}
	for _, person := range v.Document.Persons {
		if sources := aa.PresenceOf(&person); sources != nil {
			p.addSources(sources)
		}
	}
	return p
}

func (p *presenceJSON) addSources(from *aa.Presence) {
	if b := from.BluStar; b != nil {
		p.BluStar = blustarJSON{Status: b.Status, Timestamp: stamp(b.Timestamp)}
		if b.Note != nil {
			p.BluStar.Note = b.Note.Text
		}
	}
	for _, a := range from.Calendar {
		p.Calendar = append(p.Calendar, shown(a))
	}
	if e := from.ExternalUC; e != nil {
		p.External = &external{e.Status, e.FreeText, e.FwdDestination, e.TelephoneEvent}
	}
}

// explainJSON is GET /v1/explain/{address} (BSX-1).
type explainJSON struct {
	Entity     string               `json:"entity"`
	Status     consolidation.Status `json:"status"`
	Note       string               `json:"note"`
	Rule       string               `json:"rule"`
	Sources    []sourceJSON         `json:"sources"`
	NextChange stamp                `json:"next_change"` // null where nothing changes by itself
}

type sourceJSON struct {
	Source   string `json:"source"`
	Value    string `json:"value"`
	Owner    string `json:"owner"`    // who said so
	Age      string `json:"age"`      // since the server was told; empty where it was not
	Lifetime string `json:"lifetime"` // what is left of it; empty where the value stays
	Counts   bool   `json:"counts"`
	Won      bool   `json:"won"`
}

// getExplain is GET /v1/explain/{address}.
func (c *Console) getExplain(w http.ResponseWriter, r *http.Request) error {
	address := r.PathValue("address")
	e, err := c.cfg.Server.Explain(r.Context(), address)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newExplainJSON(entityOf(address), e))
	return nil
}

func newExplainJSON(entity string, e consolidation.Explanation) explainJSON {
	out := explainJSON{
		Entity: entity, Status: e.Status, Note: e.Note, Rule: e.Rule,
		Sources: []sourceJSON{}, NextChange: stamp(e.NextChange),
	}
	for _, c := range e.Claims {
		source := sourceJSON{Source: c.Source, Value: c.Value, Owner: c.Owner, Counts: c.Counts, Won: c.Won}
		if !c.Received.IsZero() {
			source.Age = wholeSeconds(e.At.Sub(c.Received))
		}
		if !c.Expires.IsZero() {
			source.Lifetime = wholeSeconds(c.Expires.Sub(e.At))
		}
		out.Sources = append(out.Sources, source)
	}
	return out
}

// wholeSeconds writes "12s" or "1h2m3s".
func wholeSeconds(d time.Duration) string { return max(0, d.Round(time.Second)).String() }

// prefers returns which of two media types an Accept header asks for, the first
// where it does not care (RFC 9110 §12.5.1).
func prefers(accept []string, first, second string) string {
	if quality(accept, second) > quality(accept, first) {
		return second
	}
	return first
}

// quality of a media type in an Accept header. A range counts a little less than
// the type itself, so that who names one and adds */* gets it.
func quality(accept []string, of string) float64 {
	best := 0.0
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		switch name {
		case of:
			return q
		case "application/*":
			best = max(best, q*0.9)
		case "*/*":
			best = max(best, q*0.8)
		}
	}
	return best
}
