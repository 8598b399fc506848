package presence

import (
	"strconv"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
)

// Dialect holds everything in which BluStar clients and those of the RFCs differ. The
// server chooses it once for each request that opens a dialog or makes a publication, and
// keeps it with that.
type Dialect struct {
	Name string

	// Documents is how bodies are written.
	Documents pidf.Dialect
	// SharedPublication: all clients of a user share one publication, and its
	// entity-tag stays when it is modified (§2.4, §2.8). If the user has a publication
	// already, the status in the first PUBLISH of a client is ignored (§2.4).
	// Otherwise each PUBLISH without an entity-tag makes a publication, each PUBLISH
	// gives it a new entity-tag (RFC 3903 §6), and all of a user are composed.
	SharedPublication bool
	// ClientLife: subscriptions and publication of a client live together. When the
	// client ends, all its dialogs end (§2.2, §2.3). Otherwise each dialog stands alone
	// (RFC 6665).
	ClientLife bool
	// NotifyOnRefresh: each refreshing SUBSCRIBE is followed by a NOTIFY (RFC 6665
	// §4.2.1). Otherwise only that of an AMCC is (§2.9).
	NotifyOnRefresh bool
	// Style is how NOTIFYs look: one for each entry of a list (§4.4), or one RLMI body
	// for all (RFC 4662), and whose address is in From.
	Style subscription.Style
	// Accept: a SUBSCRIBE whose Accept field does not name the document is answered 406
	// (RFC 6665 §4.1.2.1).
	Accept bool
	// ListInRefresh: a refresh may replace the list (§4.2). Otherwise it is answered 415
	// (RFC 5367 §5.1).
	ListInRefresh bool
	// Digest: clients may authenticate by Digest (RFC 8760) as well as by X-BSS-auth
	// (§2.10).
	Digest bool
	// ContactAndExpires: both fields are mandatory in a PUBLISH (§4.3).
	ContactAndExpires bool
}

var (
	bluStar = &Dialect{
		Name:              "BluStar",
		Documents:         pidf.BluStarDialect,
		SharedPublication: true,
		ClientLife:        true,
		Style:             subscription.Style{Name: "BluStar", FromEntity: true, FinalBody: true},
		ListInRefresh:     true,
		ContactAndExpires: true,
	}
	standard = &Dialect{
		Name:            "Standard",
		Documents:       pidf.StandardDialect,
		Style:           subscription.Style{Name: "Standard", Lists: listWriter{}},
		Accept:          true,
		NotifyOnRefresh: true,
		Digest:          true,
	}
)

// dialectOfRule is the dialect whose publications go by a rule.
func dialectOfRule(r publication.Rule) *Dialect {
	if r == publication.Shared {
		return bluStar
	}
	return standard
}

// dialectOfDialog returns the dialect that a dialog was opened in.
func dialectOfDialog(d *subscription.Dialog) *Dialect {
	if dialect, ok := d.Data.(*Dialect); ok {
		return dialect
	}
	return bluStar // only its clients are members
}

// views is the number of views. A view is a sight in a dialect.
const views = 2 * int(consolidation.Sights)

func viewOf(s consolidation.Sight, d *Dialect) subscription.View {
	v := subscription.View(s) << 1
	if d.Documents == pidf.StandardDialect {
		v++
	}
	return v
}

func sightOf(v subscription.View) consolidation.Sight { return consolidation.Sight(v >> 1) }

func isStandard(v subscription.View) bool { return v&1 != 0 }

func dialectOfView(v subscription.View) *Dialect {
	if isStandard(v) {
		return standard
	}
	return bluStar
}

// listWriter writes the state of a list as RFC 4662 §5 has it.
type listWriter struct{}

// Extension implements [subscription.ListWriter].
func (listWriter) Extension() string { return extEventList }

// WriteList implements [subscription.ListWriter].
func (listWriter) WriteList(l subscription.List) ([]byte, string) {
	info := &rlmi.List{URI: l.URI, Version: l.Version, FullState: l.Full}
	body := &related.Message{Start: "list." + l.ID, List: info}
	for i, e := range l.Entries {
		r := rlmi.Resource{URI: e.Entity}
		if e.Body != nil {
			cid := "r" + strconv.Itoa(i) + "." + l.ID
			r.Instances = []rlmi.Instance{{ID: "1", State: "active", CID: cid}}
			body.Parts = append(body.Parts, related.Part{ID: cid, Type: typePIDF, Body: e.Body})
		}
		info.Resources = append(info.Resources, r)
	}
	return body.Append(nil)
}

// DialectMode says how a client's dialect is found.
type DialectMode string

// Dialect modes; the zero value is auto.
const (
	DialectAuto     DialectMode = ""
	DialectBluStar  DialectMode = "blustar"
	DialectStandard DialectMode = "standard"
)
