package presence_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
)

// BSX-6: what a client of the RFCs publishes counts although an aa:blustar is in it, which is passed on to it by
// another product.
func TestStandardPublishWithBluStar(t *testing.T) {
	body := pidfBody("open", "<rpid:on-the-phone/>", "At the desk")
	body = body[:len(body)-len("</dm:person></presence>")] +
		`<aa:presence xmlns:aa="http://www.aastra.com/presence/blustar/2011"><aa:blustar><aa:status>available</aa:status></aa:blustar></aa:presence></dm:person></presence>`
	for name, auto := range map[string]bool{"all are of the RFCs": false, "it began without one": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(c *presence.Config) {
					if !auto {
						c.Dialect = presence.DialectStandard
					}
				})
				watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
				w.net.take()
				desk, tag := w.standard("tom", "192.0.2.8"), ""
				if auto {
					tag = etag(desk.publish("", pidfBody("open", "", "")))
					watcher.one()
				}
				require.Equal(t, 200, desk.publish(tag, body).Status)
				n := watcher.one()
				require.Equal(t, "on-the-phone", n.shown(t).activity)
				require.Equal(t, "At the desk", w.server.Publications()[0].Note)
			})
		})
	}
}

// What a host changes in a document is changed in that one alone, also in what was published.
func TestDecorateChangesPublished(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *presence.Config) {
			c.Decorate = func(d presence.Decoration) {
				for i := range d.Document.Tuples {
					for j := range d.Document.Tuples[i].Notes {
						d.Document.Tuples[i].Notes[j].Text += "!"
					}
				}
			}
		})
		ann, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		require.Equal(t, 200, w.standard("tom", "192.0.2.8").publish("", pidfBody("open", "", "At the desk")).Status)
		for range 3 {
			tuples := ann.one().doc(t).Tuples
			require.Equal(t, "At the desk!", tuples[len(tuples)-1].Notes[0].Text)
			require.Equal(t, 200, ann.refresh().Status)
		}
	})
}
