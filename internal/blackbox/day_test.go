package blackbox_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Where nobody authenticates, own is what belongs to From's entry, and where
// From has none the first address that a Contact subscribes to (BSP-4.1-1).
func TestOwnWithoutAuthentication_BSP_4_1_1(t *testing.T) {
	t.Parallel()
	s := startMail(t)
	watcher := s.phone("udp", "sip:joe@astra.com")
	watcher.subscribe("sip:joe@astra.com").doc()
	g := &stage{s: s, entity: hanks, line: "2719", watchers: map[string]*dialog{"joe": watcher.subscribe(hanks)}}
	g.see(signedOut)
	for _, number := range []string{hanksNumber, "tel:2719", hanks} {
		for _, ends := range []string{"subscriptions", "publication", "lost connection"} {
			c := s.client("tcp", number, hanks, `DE\tom`)
			c.signIn(sean)
			c.publish("", "busy", "in")
			g.come("busy/in")
			switch ends {
			case "subscriptions":
				c.list.refresh("0")
				g.see("busy/in")
				c.own.refresh("0")
			case "publication":
				c.unpublish("")
			default:
				c.close()
			}
			g.come(signedOut)
			require.Len(t, s.list("/v1/clients"), 1, "%s, %s", number, ends)
		}
	}
}
