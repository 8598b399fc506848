package presence_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
)

// A rule of the host that shows a ringing telephone as busy, before all others.
func ExampleDefaultRules() {
	rules := append([]presence.Rule{{
		Name:   "ringing",
		Match:  func(c presence.Claim) bool { return strings.HasPrefix(c.Source, "line ") && c.Value == "ringing" },
		Status: presence.StatusBusy, Note: "Ringing",
	}}, presence.DefaultRules()...)

	state := presence.State{
		Own:   []presence.Own{{Status: pidf.StatusAvailable}},
		Lines: []presence.Line{{DN: "2719", State: pidf.LineRinging}},
	}
	result := presence.Consolidate(rules, &state, time.Now())
	fmt.Println(result.Status, "/", result.Note)
	// Output: busy / Ringing
}
