package blackbox_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every way in which a client ends: its subscriptions go, and where it was the
// user's last the user is signed out; where another remains the status stays
// (BSP-2.2-2, BSP-2.2-3, BSP-2.2-4, BSP-2.3-1, BSP-2.3-2).
func TestClientEnds(t *testing.T) {
	t.Parallel()
	notified := func(t *testing.T, dialogs ...*dialog) {
		for _, d := range dialogs {
			d.ended("timeout")
		}
	}
	for _, c := range []struct {
		name    string
		network string
		expires string // of the own subscription
		end     func(t *testing.T, s *server, p *phone, own, other *dialog, etag string)
		silent  bool // its dialogs end without a word
	}{
		{name: "own Expires 0", network: "udp", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			own.refresh("0")
			own.ended("timeout")
			notified(t, other)
		}},
		{name: "PUBLISH Expires 0", network: "tcp", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			r := p.do(p.publishRequest("0", etag, ""), 200)
			require.Equal(t, "0", r.get("Expires"))
			notified(t, own, other)
		}},
		{name: "PUBLISH Expires 0 without If-Match", network: "udp", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			p.do(p.publishRequest("0", "", ""), 200)
			notified(t, own, other)
		}},
		{name: "own not refreshed", network: "udp", expires: "1", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			own.ended("timeout")
		}},
		{name: "NOTIFY answered 481", network: "udp", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			p.answering(func(*message) int { return 481 })
			s.put("/v1/calendars/tom@example.com", "["+appointment("1", "tentative", stamp(-time.Hour), stamp(time.Hour))+"]")
		}},
		{name: "NOTIFY answered 404", network: "tcp", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			p.answering(func(*message) int { return 404 })
			s.put("/v1/calendars/tom@example.com", "["+appointment("1", "tentative", stamp(-time.Hour), stamp(time.Hour))+"]")
		}},
		{name: "connection gone", network: "tcp", end: func(t *testing.T, s *server, p *phone, own, other *dialog, etag string) {
			p.close()
		}, silent: true},
	} {
		for _, last := range []bool{true, false} {
			t.Run(c.name+map[bool]string{true: "/last", false: "/another remains"}[last], func(t *testing.T) {
				t.Parallel()
				s := start(t)
				watcher := s.phone("udp", joe).subscribe(tom)
				watcher.doc()
				p := s.phone(c.network, tom)
				other := p.subscribe // opened after the own one
				own := p.open(p.subscribeRequest(tom, cmp.Or(c.expires, "300")))
				watch := other(bill)
				var stays *phone
				if !last {
					stays = s.phone("udp", tom)
					stays.subscribe(tom)
					stays.publish("", statusBody("busy", "stays"))
				}
				etag := p.do(p.publishRequest("3600", "", statusBody("busy", "stays")), 200).get("SIP-ETag")
				watcher.until("busy", func(d *document) bool { return d.own() == "busy" })
				c.end(t, s, p, own, watch, etag)
				if last {
					doc := watcher.until("signed out", func(d *document) bool { return d.own() == "signed out" })
					require.Equal(t, "signed out", doc.status())
					require.Equal(t, "Signed out", doc.note())
					require.Equal(t, "closed", doc.service("global service"))
					require.Equal(t, "closed", doc.service("audio"))
				}
				// Only the watcher's dialog, and those of the client that stays, are left.
				left := 1
				if !last {
					left = 2
				}
				require.Eventually(t, func() bool { return len(s.list("/v1/subscriptions")) == left }, patience, 10*time.Millisecond)
				if !last {
					s.line("2719", "ringing")
					doc := watcher.until("ringing", func(d *document) bool { return d.line("2719") == "ringing" })
					require.Equal(t, "busy", doc.own(), "the other client keeps the status (BSP-2.2-4)")
					require.Equal(t, "stays", doc.note())
				}
				if !c.silent {
					own.gone()
					watch.gone()
				}
			})
		}
	}
}

// list is all items of a paged list.
func (s *server) list(path string) []any {
	s.t.Helper()
	v := s.object(path)
	for _, value := range v {
		if items, ok := value.([]any); ok {
			return items
		}
	}
	s.t.Fatalf("no list in %v", v)
	return nil
}

// A subscription to another that expires ends alone (BSP-2.3-1).
func TestOtherExpiresAlone_BSP_2_3_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	own := p.subscribe(tom)
	own.doc()
	p.publish("", statusBody("busy", ""))
	own.doc()
	other := p.open(p.subscribeRequest(bill, "1"))
	other.ended("timeout")
	other.gone()
	s.line("2719", "busy")
	require.Equal(t, "busy", own.doc().own())
}

// A watcher that stops answering is released after the transaction's time,
// and delays nobody meanwhile (BSP-2.3-1). The time is Timer F: 32 s, so the
// test looks at the others only and at the retransmissions.
func TestSilentWatcher_BSP_2_3_1(t *testing.T) {
	t.Parallel()
	s := start(t)
	dead := s.phone("udp", joe)
	d := dead.subscribe(tom)
	d.doc()
	dead.silent()
	live := s.phone("udp", bill).subscribe(tom)
	live.doc()
	p := s.phone("udp", tom)
	etag := p.publish("", statusBody("busy", ""))
	live.doc()
	begin := time.Now()
	for _, status := range []string{"available", "busy", "do not disturb", "available"} {
		p.publish(etag, statusBody(status, ""))
		require.Equal(t, status, live.doc().own())
	}
	require.Less(t, time.Since(begin), 20*time.Second, "nobody waits for the dead one")
	// The lost NOTIFY is sent again until it is answered, then the newest state
	// follows, and nothing in between (BSP-4-4).
	require.Equal(t, "busy", d.doc().own())
	require.True(t, dead.wait(patience, func() bool {
		for _, n := range dead.seen {
			if n >= 3 {
				return true
			}
		}
		return false
	}), "retransmissions of the NOTIFY")
	dead.answering(nil)
	require.Equal(t, "available", d.doc().own())
	s.dirty = false
}

// A NOTIFY answered 500 does not end the subscription (RFC 6665 §4.2.2, BSP-2.3-1).
func TestNotifyAnswered500(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", joe)
	d := p.subscribe(tom)
	d.doc()
	p.answering(func(*message) int { return 500 })
	s.line("2719", "busy")
	d.doc()
	p.answering(nil)
	s.line("2719", "idle")
	require.Equal(t, "idle", d.until("idle", func(d *document) bool { return d.line("2719") == "idle" }).line("2719"))
}

// A retransmitted request gets the same response and is not processed twice;
// so a lost 200 costs nothing (RFC 3261 §17.2.2, BSX-3).
func TestRetransmission(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	m := p.subscribeRequest(tom, "300")
	first := p.send(m)
	d := &dialog{p: p, last: m, to: first.get("To")}
	d.doc()
	p.mu.Lock()
	begin := len(p.answers)
	p.mu.Unlock()
	p.write(m.String())
	second := p.response(m, begin, patience)
	require.Equal(t, first.String(), second.String())
	require.Len(t, s.list("/v1/subscriptions"), 1)

	pub := p.publishRequest("3600", "", statusBody("busy", "one"))
	first = p.send(pub)
	require.Equal(t, "one", d.doc().ownNote())
	later := p.publishRequest("3600", first.get("SIP-ETag"), statusBody("available", "two"))
	p.do(later, 200)
	require.Equal(t, "two", d.doc().ownNote())
	p.mu.Lock()
	begin = len(p.answers)
	p.mu.Unlock()
	p.write(pub.String())
	require.Equal(t, first.String(), p.response(pub, begin, patience).String())
	require.Equal(t, "two", s.object("/v1/presence/" + tom)["note"], "the old PUBLISH came again, but was not applied again")
}

// A CSeq that does not rise within a dialog is answered 500 (RFC 3261 §12.2.2, BSX-3).
func TestOldCSeq(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.phone("udp", tom)
	d := p.subscribe(bill)
	d.doc()
	d.refresh("200")
	old := d.refreshRequest("0").set("CSeq", "1 SUBSCRIBE")
	p.do(old, 500)
	require.Len(t, s.list("/v1/subscriptions"), 1)
}

// One AMCC, one Contact, many AMCs told apart by From (BSP-2.11-2).
func TestAMCs_BSP_2_11_2(t *testing.T) {
	t.Parallel()
	s := start(t)
	amcc := s.phone("udp", tom)
	amcc.contact = strings.Replace(amcc.contact, "<sip:tom@", "<sip:fmc@", 1)
	watcher := s.phone("udp", ted).subscribeList(tom, joe)
	watcher.doc()
	watcher.doc()
	as := func(aor string, m *message) *message {
		return m.set("From", "<"+aor+">;tag="+token()).set("To", "<"+aor+">")
	}
	toms := amcc.open(as(tom, amcc.subscribeRequest(tom, "300")))
	joes := amcc.open(as(joe, amcc.subscribeRequest(joe, "300")))
	toms.doc()
	joes.doc()
	amcc.do(as(tom, amcc.publishRequest("3600", "", statusBody("busy", "tom"))), 200)
	amcc.do(as(joe, amcc.publishRequest("3600", "", statusBody("available", "joe"))), 200)
	require.Equal(t, "tom", s.object("/v1/presence/" + tom)["note"])
	amcc.do(as(tom, amcc.publishRequest("0", "", "")), 200)
	toms.ended("timeout")
	require.Equal(t, "signed out", s.status(tom))
	require.Equal(t, "available", s.status(joe))
	s.line("2001", "ringing")
	joes.until("joe's goes on", func(d *document) bool { return d.line("2001") == "ringing" })
	toms.gone()
}
