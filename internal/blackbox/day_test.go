package blackbox_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/openblustar/blustar/internal/rig"
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

// The day of the printed client, with authentication and a directory that does
// not know its number, and what everybody who watches its user sees after each
// step (BSP-4.1-1, BSP-2.2-2 to 2.2-4, BSP-2.3-1, BSP-2.4-1 to 2.4-4, BSP-2.4-8).
func TestDay_BSP_4_1_1(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			host := rig.Address(t) // where nobody takes its ports while it restarts
			s := startMail(t, required, fmt.Sprintf(`{"listen":["udp:%[1]s:0","tcp:%[1]s:0"],"http":{"listen":"%[1]s:0"}}`, host))
			g := s.watched(hanks, "2719")
			g.see(signedOut)

			// It signs in by two subscriptions at once, with 200 favorites.
			c := s.client(network, hanksNumber, hanks, `DE\tom`)
			favorites := colleagues(200)
			c.signIn(favorites...)
			require.Equal(t, "300", c.own.granted)
			require.Equal(t, "300", c.list.granted)
			c.list.told(append([]string{hanks}, favorites...)...)
			require.Equal(t, hanks, c.own.doc().Entity)
			g.with("one", c)
			g.see(isUnknown)
			require.Len(t, s.list("/v1/clients"), 3, "the watchers' two, and one")

			// Its status changes, with and without the entity-tag.
			etag := c.publish("", "available", "")
			g.see("available/Available")
			require.Equal(t, etag, c.publish(etag, "busy", "HELLO"))
			g.see("busy/HELLO")
			require.Equal(t, etag, c.publish("", "do not disturb", ""))
			g.see("unavailable/Unavailable")
			require.Equal(t, etag, c.publish(etag, "busy", ""))
			g.see("busy/Busy")
			require.Equal(t, etag, c.ask(c.publishRequest("3600", etag, ""), 200).get("SIP-ETag"))
			g.see("busy/Busy")
			require.Len(t, s.list("/v1/clients"), 3, "a PUBLISH joins the client of its Contact and account")

			// A second client of the user signs in; its first PUBLISH is ignored.
			second := s.client(map[string]string{"udp": "tcp", "tcp": "udp"}[network], hanksNumber, hanks, `DE\tom`)
			second.signIn(sean)
			require.Equal(t, "busy", second.list.told(hanks, sean)[hanks].status())
			require.Equal(t, "busy", second.own.doc().status())
			r, doc := second.ignored(second.publishRequest("3600", "", statusBody("available", "START")))
			require.Equal(t, etag, r.get("SIP-ETag"))
			require.Equal(t, "busy", doc.own())
			g.with("two", second)
			g.see("busy/Busy")
			require.Equal(t, etag, second.publish(etag, "available", "two"))
			g.see("available/two")
			require.Equal(t, etag, c.publish(etag, "busy", "one"))
			g.see("busy/one")
			second.unpublish(etag)
			second.own.leaves()
			second.list.leaves()
			g.without("two")
			g.see("busy/one")

			// It changes its list: by ending and opening, and by a refresh.
			delete(g.watchers, "list of one")
			c.list.refresh("0")
			c.list.leaves()
			g.see("busy/one")
			c.list = c.open(c.listRequest(sean))[0]
			c.list.told(hanks, sean)
			g.with("one", c)
			g.see("busy/one")
			c.ask(c.replaceRequest(murray), 200)
			c.list.told(murray)
			g.see("busy/one")
			s.line("2720", "busy") // sean is on the list no more
			s.line("2721", "busy")
			require.Equal(t, "busy", c.list.told(murray)[murray].status())
			require.Equal(t, etag, c.publish(etag, "available", ""))
			g.see("available/Available")

			// The server restarts: with a word, and without.
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				old := g.watchers
				fresh := s.restart(sig)
				if sig == syscall.SIGTERM {
					for name, w := range old {
						if name == "softphone" {
							w.ended("deactivated")
						} else {
							w.ends("deactivated")
						}
					}
				}
				s = fresh
				g = s.watched(hanks, "2719")
				g.see(signedOut)
				for _, d := range []*dialog{c.own, c.list} {
					d.p.do(d.refreshRequest("300"), 481)
				}
				c.signIn(sean)
				c.list.told(hanks, sean)
				g.with("one", c)
				g.see(isUnknown)
				c.ask(c.publishRequest("3600", etag, ""), 412) // a refresh of what has gone
				etag = c.publish(etag, "busy", "again")        // but with a body it counts
				g.see("busy/again")
			}

			// It crashes: it answers nothing, and refreshes nothing.
			c.own.refresh("1")
			c.list.refresh("1")
			c.silent()
			g.without("one")
			g.come(signedOut)

			// It is started again, and its connection is lost.
			c.answering(nil)
			s.dirty = false
			c.signIn(sean)
			c.list.told(hanks, sean)
			c.publish("", "busy", "back")
			g.come("busy/back")
			if network == "tcp" {
				require.NoError(t, c.conn.Close())
				g.come(signedOut)
				c.dial()
				c.signIn(sean)
				c.publish("", "busy", "reconnected")
				g.come("busy/reconnected")
			}
			c.unpublish("")
			g.see(signedOut)
		})
	}
}

// A client signs out by each way that the document has, in each order, and
// whatever comes after its end is 200 too. It is signed out when the last of its
// own subscriptions has ended, or its publication, and not before (BSP-2.2-1,
// BSP-2.2-2, BSP-2.2-3).
func TestSignOut_BSP_2_2_2(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := startMail(t, required)
			g := s.watched(hanks, "2719")
			g.see(signedOut)
			c := s.client(network, hanksNumber, hanks, `DE\tom`)
			for _, order := range [][]string{
				{"own", "list"}, {"list", "own"}, {"publish"}, {"publish with its tag"},
				{"own", "list", "publish"}, {"own", "publish", "list"}, {"list", "own", "publish with its tag"},
				{"list", "publish with its tag", "own"}, {"publish", "own", "list"}, {"publish with its tag", "list", "own"},
			} {
				c.signIn(sean)
				c.list.told(hanks, sean)
				etag := c.publish("", "busy", "in")
				g.come("busy/in")
				subscriptions := 2
				for i, way := range order {
					switch way {
					case "own":
						c.own.refresh("0")
						subscriptions--
					case "list":
						c.list.refresh("0")
						subscriptions--
					case "publish":
						c.unpublish("")
						subscriptions = 0
					default:
						c.unpublish(etag)
						subscriptions = 0
					}
					if i == 0 && subscriptions > 0 {
						g.see("busy/in")
						continue
					}
					for deadline := time.Now().Add(patience); s.status(hanks) != "signed out"; { // the answer comes first
						require.True(t, time.Now().Before(deadline), "%v", order)
					}
					g.see(signedOut)
				}
				for _, d := range []*dialog{c.own, c.list} {
					d.leaves()
					d.gone()
				}
				require.Len(t, s.list("/v1/clients"), 2, "%v", order)
			}
			// All at once, on the way out of a program.
			c.signIn(sean)
			etag := c.publish("", "busy", "in")
			g.come("busy/in")
			answers := c.together(c.publishRequest("0", etag, ""), c.own.refreshRequest("0"), c.list.refreshRequest("0"))
			require.Equal(t, 200, answers[0].code())
			for _, r := range answers[1:] { // which may come when the PUBLISH has ended the client, with its dialogs
				require.Contains(t, []int{200, 481}, r.code())
			}
			g.see(signedOut)
		})
	}
}

// The day of an AMCC with three AMCs, told apart by From alone: the number in
// SUBSCRIBEs, the own address in PUBLISHes (BSP-2.11-1, BSP-2.11-2, BSP-2.9-2).
func TestDayOfAMCC_BSP_2_11_2(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := startMail(t, required)
			toms, seans, bills := s.watched(hanks, "2719"), s.watched(sean, "2720"), s.watched(murray, "2721")
			everybody := func(tom, sean, bill string) {
				t.Helper()
				toms.see(tom)
				seans.see(sean)
				bills.see(bill)
			}
			everybody(signedOut, signedOut, signedOut)

			amcc := s.phone(network, hanksNumber)
			one, two, three := amcc.amc(hanksNumber, hanks), amcc.amc(seanNumber, sean), amcc.amc(murrayNumber, murray)
			one.signIn(sean)
			one.list.told(hanks, sean)
			everybody(isUnknown, signedOut, signedOut)
			two.signIn(hanks)
			two.list.told(hanks, sean)
			three.signIn()
			three.list.told(murray)
			everybody(isUnknown, isUnknown, isUnknown)
			etag := one.publish("", "busy", "tom")
			two.publish("", "available", "sean")
			three.publish("", "do not disturb", "bill")
			everybody("busy/tom", "available/sean", "unavailable/bill")
			require.Equal(t, etag, one.publish(etag, "available", ""))
			two.publish("", "busy", "")
			everybody("available/Available", "busy/Busy", "unavailable/bill")

			// A refresh brings what this AMC watches, and the others nothing.
			forwards := func(mark string) {
				s.put("/v1/lines/2720", `{"state":"idle","forward":"`+mark+`"}`)
				s.put("/v1/lines/2721", `{"state":"idle","forward":"`+mark+`"}`)
			}
			forwards("1")
			one.list.until("1", func(d *document) bool { return d.forward("2720") == "1" })
			two.own.until("1", func(d *document) bool { return d.forward("2720") == "1" })
			for _, d := range []*dialog{three.own, three.list} {
				d.until("1", func(d *document) bool { return d.forward("2721") == "1" })
			}
			for one.own.poll(0) != nil {
			}
			one.own.refresh("300")
			require.Equal(t, "available", one.own.told(hanks)[hanks].status())
			require.Equal(t, "busy", one.list.told(hanks, sean)[sean].status())
			forwards("2")
			require.Equal(t, "2", two.own.doc().forward("2720"))
			for _, d := range []*dialog{three.own, three.list} {
				require.Equal(t, "2", d.doc().forward("2721"))
			}

			// One signs out by PUBLISH, one by its subscriptions; the others go on.
			one.unpublish(etag)
			one.own.leaves()
			one.list.leaves()
			everybody(signedOut, "busy/Busy", "unavailable/bill")
			two.list.refresh("0")
			everybody(signedOut, "busy/Busy", "unavailable/bill")
			two.own.refresh("0")
			two.own.leaves()
			two.list.leaves()
			everybody(signedOut, signedOut, "unavailable/bill")

			// One crashes, one goes on.
			one.signIn(sean)
			one.publish("", "busy", "tom again")
			toms.come("busy/tom again")
			three.own.refresh("1")
			three.list.refresh("1")
			bills.come(signedOut)
			everybody("busy/tom again", signedOut, signedOut)

			// The connection is that of all.
			if network == "tcp" {
				two.signIn(hanks)
				two.publish("", "busy", "sean again")
				seans.come("busy/sean again")
				require.NoError(t, amcc.conn.Close())
				toms.come(signedOut)
				seans.come(signedOut)
				everybody(signedOut, signedOut, signedOut)
			}
		})
	}
}
