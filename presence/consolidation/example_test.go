package consolidation_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
)

// A rule of the host that shows a ringing telephone as busy, before all others.
func ExampleDefaultRules() {
	rules := append([]consolidation.Rule{{
		Name: "ringing",
		Match: func(c *consolidation.Claim, _ *consolidation.State) bool {
			return strings.HasPrefix(c.Source, "line ") && c.Value == "ringing"
		},
		Status: consolidation.StatusBusy, Note: "Ringing",
	}}, consolidation.DefaultRules()...)

	state := consolidation.State{
		Published: []consolidation.Published{{Status: aa.StatusAvailable}},
		Lines:     []consolidation.Line{{DN: "2719", State: aa.LineRinging}},
	}
	result := consolidation.Consolidate(rules, &state, time.Now())
	fmt.Println(result.Status, "/", result.Note)
	// Output: busy / Ringing
}
