package presence_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
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

// Watchers who are shown the same are sent the same memory, however many they are.
func TestWatchersShareBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sent := make(map[*byte]int) // by the memory of the body
		w := newWorld(t, func(c *presence.Config) { c.Sender = looking{c.Sender, sent} })
		for _, host := range []string{"192.0.2.20", "192.0.2.21", "192.0.2.22"} {
			w.standard("ann", host).subscribe("sip:tom@example.com")
		}
		clear(sent)
		require.Equal(t, 200, w.standard("tom", "192.0.2.8").publish("", pidfBody("open", "", "At the desk")).Status)
		require.Len(t, w.net.take(), 6)
		require.Equal(t, []int{3}, slices.Collect(maps.Values(sent)))
	})
}

// looking is a sender that looks at what is sent.
type looking struct {
	sipx.Sender
	sent map[*byte]int
}

func (l looking) Send(req *sipx.Request, done sipx.ResponseHandler) {
	l.sent[&req.Body[0]]++
	l.Sender.Send(req, done)
}

// Documents are decoded to memory that is used again for the next PUBLISH. Whoever is shown one, and whenever, is shown one
// document and not parts of two: watchers join while two users publish, each NOTIFY shows one document of the right user.
func TestDocumentsAreWhole(t *testing.T) {
	const rounds = 300
	w := newWorld(t)
	var making sync.Mutex // of requests
	send := func(e *endpoint, method, user, callID string, cseq int, body string, fields ...string) *sipx.Response {
		making.Lock()
		req := e.request(method, "sip:192.0.2.1", "<sip:"+user+"@example.com>", callID, cseq, body, append(fields, "Event: presence")...)
		making.Unlock()
		return w.send(req)
	}
	var all sync.WaitGroup
	for _, user := range []string{"tom", "bob"} {
		for _, host := range []string{"192.0.2.20", "192.0.2.21"} {
			watcher := w.standard("ann", host)
			require.Equal(t, 200, send(watcher, "SUBSCRIBE", user, "watch"+user+host, 1, "", "Expires: 300").Status)
			all.Go(func() { // and asks now and then
				for i := range rounds {
					assert.Equal(t, 200, send(watcher, "SUBSCRIBE", user, fmt.Sprintf("ask%s%s%d", user, host, i), 1, "", "Expires: 0").Status)
				}
			})
		}
		all.Go(func() {
			phone, tag := w.standard(user, "192.0.2.8"), []string(nil)
			for i := range rounds {
				note := fmt.Sprintf("%s %d", user, i)
				body := strings.Replace(pidfBody("open", "<rpid:note>"+note+"</rpid:note><rpid:busy/>", note), "</dm:person>", "<dm:note>"+note+"</dm:note></dm:person>", 1)
				res := send(phone, "PUBLISH", user, "pub"+user, i+1, body, append(tag, "Expires: 300", "Content-Type: application/pidf+xml")...)
				if !assert.Equal(t, 200, res.Status) {
					return
				}
				tag = []string{"SIP-If-Match: " + etag(res)}
			}
		})
	}
	all.Wait()
	seen := make(map[string]bool)
	for _, n := range w.net.take() {
		doc := n.doc(t)
		person := doc.Persons[0]
		if len(person.Notes) == 0 {
			continue // nothing was published yet
		}
		note, tuple := person.Notes[0].Text, doc.Tuples[len(doc.Tuples)-1]
		require.Equal(t, note, tuple.Notes[0].Text)
		require.Equal(t, doc.Entity, "sip:"+strings.Fields(note)[0]+"@example.com")
		seen[note] = true
	}
	require.Greater(t, len(seen), rounds)
}
