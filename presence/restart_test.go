package presence_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// durable is a world whose server has a store, and can be restarted.
type durable struct {
	*world
	store     *faulty
	configure func(*presence.Config)
}

func newDurable(t *testing.T, configure ...func(*presence.Config)) *durable {
	d := &durable{store: &faulty{}}
	d.configure = func(c *presence.Config) {
		c.Store = d.store
		for _, f := range configure {
			f(c)
		}
	}
	d.world = newWorld(t, d.configure)
	require.NoError(t, d.server.Restore(t.Context()))
	return d
}

// kill ends the process as kill -9 does: what is not in the store is gone.
func (d *durable) kill() {
	d.Helper()
	settle()
	d.store.cutOff()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, sipx.ErrStackClosed })
	_ = d.server.Shutdown(ctx)
	settle()
	d.net.take()
	d.net.answering(nil)
}

// stop ends it as SIGTERM does.
func (d *durable) stop() {
	d.Helper()
	settle()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(d, d.server.Shutdown(ctx))
}

// start starts the next process, with the same network and store.
func (d *durable) start() {
	d.Helper()
	d.store.repair()
	cfg := presence.Config{Sender: d.net, Domains: []string{"example.com"}}
	dir, err := directory.NewMemory(users)
	require.NoError(d, err)
	cfg.Directory = dir
	d.configure(&cfg)
	server, err := presence.New(cfg)
	require.NoError(d, err)
	d.server = server
	d.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx)
	})
	require.NoError(d, server.Restore(d.Context()))
}

// synced lets what was acknowledged reach the store.
func (d *durable) synced() { time.Sleep(100 * time.Millisecond); settle() }

// faulty is a store in memory that can fail, be slow, or be cut off for good.
type faulty struct {
	presence.MemoryStore
	mu     sync.Mutex
	err    error
	delay  time.Duration
	writes int
	calls  int
}

var errDisk = errors.New("no space left on device")

func (f *faulty) cutOff() { f.fail(errors.New("cut off")) }
func (f *faulty) repair() { f.fail(nil) }

func (f *faulty) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *faulty) slow(delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = delay
}

func (f *faulty) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	f.mu.Lock()
	err, delay := f.err, f.delay
	f.writes += len(batch)
	f.calls++
	f.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	if err != nil {
		return nil, err
	}
	return f.MemoryStore.Apply(ctx, batch)
}

// records returns the keys of what is in the store, by kind.
func (f *faulty) records(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	require.NoError(t, f.Load(context.Background(), func(r presence.Record) error {
		all[r.Kind] = append(all[r.Kind], string(r.Value))
		return nil
	}))
	return all
}

// restarts are the ways in which a process ends.
var restarts = map[string]func(*durable){
	"SIGTERM": func(d *durable) { d.stop() },
	"kill -9": func(d *durable) { d.synced(); d.kill() },
}

// eachRestart runs a test with each of them.
func eachRestart(t *testing.T, f func(t *testing.T, end func(*durable))) {
	for name, end := range restarts {
		t.Run(name, func(t *testing.T) { bubble(t, func(t *testing.T) { f(t, end) }) })
	}
}

// BSX-11: after a restart everything goes on, nobody is told anything where nothing has
// changed, and the next NOTIFY has a CSeq above all before.
func TestRestartUnnoticed(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		tom := d.client("tom", "192.0.2.8")
		own, res := tom.subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		tag := etag(tom.status("", "busy", "in the lab"))
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		list, _ := d.client("ann", "192.0.2.7").list("sip:tom@example.com", "tel:200", "sip:nobody@example.com")
		phone, _ := d.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
		last := make(map[string]uint32)
		for _, n := range d.net.take() {
			last[n.CallID] = max(last[n.CallID], n.CSeq)
		}
		clients, publications := d.server.Clients(), d.server.Publications()
		require.Len(t, clients, 1)

		end(d)
		require.Empty(t, d.net.take(), "nobody is told of the end")
		time.Sleep(20 * time.Second)
		d.start()
		time.Sleep(2 * presence.ResumeSpread)
		require.Empty(t, d.net.take(), "nobody is told anything")
		require.Len(t, d.server.Subscriptions(), 4)
		after := d.server.Clients()
		require.Len(t, after, 1)
		require.True(t, clients[0].Published.Equal(after[0].Published))
		clients[0].Published, after[0].Published = time.Time{}, time.Time{}
		clients[0].Since, after[0].Since = time.Time{}, time.Time{}
		require.Equal(t, clients, after)
		require.Len(t, d.server.Publications(), len(publications))
		require.Equal(t, publications[0].ETag, d.server.Publications()[0].ETag)

		// each is told what changes from now on, once
		res = tom.status(tag, "away", "out")
		require.Equal(t, tag, etag(res), "the entity-tag stays (§2.8)")
		sent := d.net.take()
		for _, s := range []*sub{own, watcher, list, phone} {
			of := s.of(sent)
			require.Len(t, of, 1, s.uri)
			require.Greater(t, of[0].CSeq, last[s.callID])
			require.Contains(t, of[0].shown(t).note, "out")
		}
		require.Len(t, sent, 4)
		for _, s := range []*sub{own, watcher, list, phone} {
			require.Equal(t, 200, s.refresh().Status)
		}
		require.Equal(t, 200, own.end().Status)
		d.net.take()
		require.Empty(t, d.server.Clients(), "it has signed out")
	})
}

// BSX-11: CSeqs rise over any number of restarts, also where nothing is written in
// between, and a SUBSCRIBE with an old CSeq is old.
func TestRestartNumbers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t)
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com", "Expires: 300")
		tom := d.standard("tom", "192.0.2.8")
		last := watcher.one().CSeq
		d.synced()
		for i := range 20 {
			if i%3 == 0 {
				d.stop()
			} else {
				d.kill() // at once: the store does not know of the last NOTIFYs
			}
			d.start()
			time.Sleep(presence.ResumeSpread)
			for _, n := range watcher.of(d.net.take()) {
				require.Greater(t, n.CSeq, last)
				last = n.CSeq
			}
			tom.publish("", openBody(fmt.Sprintf("note %d", i)))
			n := watcher.one()
			require.Greater(t, n.CSeq, last)
			last = n.CSeq
		}
		d.synced()
		watcher.cseq--
		require.Equal(t, 500, watcher.refresh().Status)
	})
}

func openBody(note string) string {
	return `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com"><tuple id="a"><status><basic>open</basic></status><note>` +
		note + `</note></tuple></presence>`
}

// BSX-11: who does not know what is shown now is told it, over a while; others are not.
func TestRestartTellsWhatChanged(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		tom := d.standard("tom", "192.0.2.8")
		tom.publish("", openBody("soon gone"), "Expires: 60")
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		other, _ := d.client("ann", "192.0.2.7").subscribe("sip:bob@example.com")
		d.net.take()
		end(d)
		time.Sleep(90 * time.Second)
		d.start()
		time.Sleep(presence.ResumeSpread)
		sent := d.net.take()
		require.Len(t, watcher.of(sent), 1, "the publication has expired")
		require.Equal(t, "other:signed out", watcher.of(sent)[0].shown(t).activity)
		require.Empty(t, other.of(sent))
		require.Empty(t, d.server.Publications())
	})
}

// BSX-11: which of two publications was refreshed last shows nothing new: after a restart
// nobody is told so.
func TestRestartAfterRefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t)
		desk, mobile := d.standard("tom", "192.0.2.8"), d.standard("tom", "192.0.2.9")
		first := etag(desk.publish("", openBody("same")))
		mobile.publish("", openBody("same"))
		watcher, _ := d.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		d.net.take()
		desk.publish(first, openBody("same"))
		require.Empty(t, watcher.of(d.net.take()))
		d.synced()
		d.kill()
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, watcher.of(d.net.take()))
	})
}

// BSX-11: a NOTIFY that nobody had answered is sent again; one that was answered is not.
func TestRestartUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t)
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		watcher.one()
		d.net.hold()
		d.client("tom", "192.0.2.8").status("", "busy", "1")
		held := watcher.one()
		d.synced()
		d.kill()
		d.start()
		time.Sleep(presence.ResumeSpread)
		n := watcher.one()
		require.Greater(t, n.CSeq, held.CSeq)
		require.Equal(t, "1", n.note(t))
	})
}

// BSX-11: a NOTIFY that came, the answer to which got lost, is corrected where the state is
// as it was before by the time the server is back.
func TestRestartAnswerLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t)
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		before := watcher.one().shown(t)
		d.net.hold()
		d.standard("tom", "192.0.2.8").publish("", openBody("soon gone"), "Expires: 60")
		require.NotEqual(t, before, watcher.one().shown(t))
		d.synced()
		d.kill()
		time.Sleep(2 * time.Minute)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Equal(t, before, watcher.one().shown(t))
	})
}

// BSX-14: who takes a coding is sent it after a restart, too; the others are not.
func TestRestartCoding(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		subs := make(map[string]*sub)
		for _, coding := range []string{"", "gzip", "deflate"} {
			subs[coding], _ = d.standard("ann", "192.0.2.7").open("sip:rls@example.com",
				resourceLists("sip:tom@example.com", "sip:bob@example.com", "sip:ann@example.com"), "Expires: 300", "Supported: eventlist",
				"Content-Type: application/resource-lists+xml", "Accept-Encoding: "+coding)
		}
		d.net.take()
		end(d)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, d.net.take())
		d.standard("tom", "192.0.2.8").publish("", openBody(strings.Repeat("long", 200)))
		sent := d.net.take()
		for coding, s := range subs {
			of := s.of(sent)
			require.Len(t, of, 1)
			require.Equal(t, coding, of[0].Header.Get("Content-Encoding"))
			require.Contains(t, string(expanded(t, of[0])), "longlong")
		}
	})
}

// A subscription that expired while the server was down has ended, and its client with
// it: its user is signed out (§2.3).
func TestRestartExpired(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		tom := d.client("tom", "192.0.2.8")
		own, _ := tom.subscribe("sip:tom@example.com", "Expires: 60")
		tom.publish("", bluStarBody("busy", ""), "Expires: 60")
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com", "Expires: 300")
		d.net.take()
		end(d)
		time.Sleep(100 * time.Second)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, d.server.Clients())
		require.Equal(t, "other:signed out", watcher.one().shown(t).activity)
		require.Equal(t, 481, own.refresh().Status)
		d.synced()
		records := d.store.records(t)
		require.Len(t, records["dialog"], 1, "%v", records)
		require.Len(t, records["client"], 1)
		require.NotContains(t, records["client"][0], "tom")
	})
}

// BSX-11: of the two records of a dialog the newer one counts, and neither is left of one
// that has ended.
func TestRestartNewest(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		ann := d.client("ann", "192.0.2.7")
		shorter, _ := ann.subscribe("sip:bob@example.com", "Expires: 300")
		over, _ := ann.subscribe("sip:bob@example.com", "Expires: 300")
		longer, _ := ann.list("sip:bob@example.com")
		d.synced()
		require.Equal(t, 200, shorter.again("", "Expires: 60").Status)
		require.Equal(t, 200, over.refresh().Status)
		require.Equal(t, 200, longer.refresh().Status)
		d.synced()
		require.Len(t, d.store.records(t)["turn"], 1)
		require.Equal(t, 200, over.end().Status)
		require.Equal(t, 200, longer.again(resourceLists("sip:bob@example.com", "sip:tom@example.com"),
			"Expires: 300", "Content-Type: application/resource-lists+xml").Status)
		d.net.take()
		end(d)
		time.Sleep(100 * time.Second)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, longer.of(d.net.take()))
		d.client("tom", "192.0.2.8").status("", "busy", "1")
		require.Equal(t, "1", longer.one().note(t))
		require.Equal(t, 481, shorter.refresh().Status, "it has expired")
		require.Equal(t, 481, over.refresh().Status)
		require.Equal(t, 200, longer.end().Status)
		d.synced()
		records := d.store.records(t)
		require.Empty(t, records["turn"])
		require.Empty(t, records["dialog"])
	})
}

// A PUBLISH that was carried out and not answered, because the process ended in between, comes once
// more: it is answered as it would have been (RFC 3903 §6; BSX-11).
func TestRestartUnanswered(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		tom, before := d.standard("tom", "192.0.2.8"), ""
		for _, body := range []string{openBody("in"), openBody("out"), ""} {
			publish := func() *sipx.Response { return tom.publish(before, body, "Expires: 240") }
			lost := publish()
			require.Equal(t, 200, lost.Status)
			d.synced()
			end(d)
			d.start()
			time.Sleep(presence.ResumeSpread)
			d.n -= 2 // the same request
			again := publish()
			require.Equal(t, 200, again.Status)
			require.Equal(t, etag(lost), etag(again))
			require.Len(t, d.server.Publications(), 1)
			if before != "" {
				require.Equal(t, 412, publish().Status, "another one")
			}
			before = etag(again)
		}
	})
}

// BSX-11: turns that are written together are one record. Those that still count are moved out
// of records in which few do, and count after a restart all the same.
func TestRestartBundles(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		ann := d.client("ann", "192.0.2.7")
		const batches, often = 100, 20
		var all []*sub
		for range batches + often {
			s, _ := ann.subscribe("sip:bob@example.com", "Expires: 300")
			all = append(all, s)
		}
		d.synced()
		for i := range batches { // each leaves one that is not refreshed again
			for _, s := range append(all[batches:], all[i]) {
				require.Equal(t, 200, s.refresh().Status)
			}
			d.synced()
		}
		require.Less(t, len(d.store.records(t)["turn"]), batches*3/4)
		last := make(map[string]uint32)
		for _, n := range d.net.take() {
			last[n.CallID] = n.CSeq
		}
		end(d)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, d.net.take())
		for _, s := range all {
			require.Equal(t, 200, s.refresh().Status)
		}
		d.client("bob", "192.0.2.8").status("", "busy", "1")
		sent := d.net.take()
		for _, s := range all {
			require.Len(t, s.of(sent), 1)
			require.Greater(t, s.of(sent)[0].CSeq, last[s.callID])
		}
	})
}

// A client that ended while the server was down, with its own subscription although it
// had published for longer, or with its publication, takes its other subscriptions along,
// which are told so (§2.3).
func TestRestartClientsEnded(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		var others []*sub
		for i := range 20 {
			host := fmt.Sprintf("192.0.2.%d", 10+i)
			bob := d.client("bob", host)
			if i%2 == 0 {
				bob.subscribe("sip:bob@example.com", "Expires: 60")
				require.Equal(t, 200, bob.status("", "busy", "").Status)
			} else {
				require.Equal(t, 200, bob.publish("", bluStarBody("busy", ""), "Expires: 60").Status)
			}
			other, _ := bob.subscribe("sip:ann@example.com")
			others = append(others, other)
		}
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:bob@example.com")
		d.net.take()
		end(d)
		time.Sleep(100 * time.Second)
		d.start()
		time.Sleep(presence.ResumeSpread)
		sent := d.net.take()
		for _, s := range others {
			require.Len(t, s.of(sent), 1)
			require.Equal(t, "terminated;reason=timeout", s.of(sent)[0].state())
		}
		require.Equal(t, "other:signed out", watcher.of(sent)[0].shown(t).activity)
		require.Empty(t, d.server.Clients())
	})
}

// BSX-11: a lifetime goes on by the clock on the wall while the server is down.
func TestRestartLifetime(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com", "Expires: 300")
		d.standard("tom", "192.0.2.8").publish("", openBody("in"), "Expires: 240")
		end(d)
		time.Sleep(200 * time.Second)
		d.start()
		time.Sleep(30 * time.Second)
		require.Len(t, d.server.Publications(), 1)
		time.Sleep(15 * time.Second)
		require.Empty(t, d.server.Publications())
		require.Len(t, d.server.Subscriptions(), 1)
		d.net.take()
		time.Sleep(70 * time.Second)
		require.Empty(t, d.server.Subscriptions())
		require.Equal(t, "terminated;reason=timeout", watcher.one().state())
	})
}

// BSX-11: a dialog over a connection waits for its client, which then learns what it
// does not know; one that does not come back counts as gone after the grace time.
func TestRestartConnections(t *testing.T) {
	for _, transport := range []string{"tcp", "tls", "ws", "wss"} {
		t.Run(transport, func(t *testing.T) { testRestartConnections(t, transport) })
	}
}

func testRestartConnections(t *testing.T, transport string) {
	flow := func(conn uint64) sipx.Flow {
		f := tcp(conn)
		f.Transport = transport
		return f
	}
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t, func(c *presence.Config) { c.Grace = 30 * time.Second })
		ann, bob := d.client("ann", "192.0.2.7"), d.client("bob", "192.0.2.9")
		ann.flow, bob.flow = flow(7), flow(8)
		back, _ := ann.subscribe("sip:ann@example.com")
		gone, _ := bob.subscribe("sip:bob@example.com")
		d.net.take()
		end(d)
		d.start()
		time.Sleep(10 * time.Second)
		d.client("ann", "192.0.2.8").status("", "busy", "elsewhere")
		require.Empty(t, d.net.take(), "there is no connection")
		require.Len(t, d.server.Clients(), 3)
		ann.flow = flow(1)
		require.Equal(t, 200, back.refresh().Status)
		n := back.one()
		require.Equal(t, uint64(1), n.Flow.Conn)
		require.Equal(t, "elsewhere", n.note(t))
		time.Sleep(25 * time.Second)
		d.net.take()
		require.Len(t, d.server.Clients(), 2, "bob has not come back")
		require.Equal(t, 481, gone.refresh().Status)
		require.Equal(t, 200, back.refresh().Status)
		require.NotEmpty(t, d.server.Subscriptions())
	})
}

// BSX-11: what hosts were told goes on for what is left of its lifetime; what a monitor
// said is shown as before until it speaks again, or the grace time is over.
func TestRestartSources(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		monitor := &calendarOf{value: make(chan presence.CalendarState, 1)}
		d := newDurable(t, func(c *presence.Config) { c.Calendar, c.Grace = monitor, 30*time.Second })
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		now := time.Now()
		meeting := aa.Appointment{ID: "1", State: aa.CalendarBusy, Subject: "Budget", From: now, End: now.Add(time.Hour)}
		monitor.value <- presence.CalendarState{Appointments: []aa.Appointment{meeting}}
		require.NoError(t, d.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineBusy, Lifetime: 2 * time.Minute}))
		require.NoError(t, d.server.Feed().SetExternal(t.Context(), "sip:bob@example.com", presence.ExternalState{Status: aa.StatusAway}))
		d.net.take()
		end(d)
		time.Sleep(time.Minute)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, watcher.of(d.net.take()), "nothing blinks")
		v, known := d.server.Feed().Line("2719")
		require.True(t, known)
		require.WithinDuration(t, now.Add(2*time.Minute), v.Expires, time.Second)
		_, known, _ = d.server.Feed().External(t.Context(), "sip:bob@example.com")
		require.True(t, known)
		_, known = d.server.Feed().Calendar("tom@example.com")
		require.True(t, known)
		time.Sleep(25 * time.Second)
		_, known = d.server.Feed().Calendar("tom@example.com")
		require.False(t, known, "its monitor has said nothing")
		require.Len(t, watcher.of(d.net.take()), 1)
		time.Sleep(time.Minute)
		_, known = d.server.Feed().Line("2719")
		require.False(t, known)
		d.synced()
		require.Empty(t, d.store.records(t)["line"])
	})
}

// calendarOf is a monitor that says what it is given.
type calendarOf struct{ value chan presence.CalendarState }

func (m *calendarOf) MonitorCalendar(ctx context.Context, _ string, update func(presence.CalendarState)) error {
	for {
		select {
		case v := <-m.value:
			update(v)
		case <-ctx.Done():
			return nil
		}
	}
}

// BSX-11: forwardings go on; one that has expired while the server was down is ended.
func TestRestartForwarding(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		controller := &recordedForwards{}
		d := newDurable(t, func(c *presence.Config) { c.Forward = controller })
		tom := d.client("tom", "192.0.2.8")
		forward := func() *sipx.Response {
			return d.send(tom.request("PUBLISH", "sip:192.0.2.1:5060", "<sip:bob@example.com>", "fw", 1, "", "Expires: 60", "Event: lyncforwarding"))
		}
		require.Equal(t, 200, forward().Status)
		end(d)
		d.start()
		view, err := d.server.Presence(t.Context(), "sip:tom@example.com")
		require.NoError(t, err)
		require.Equal(t, "sip:bob@example.com", view.State.External.FwdDestination)
		require.Equal(t, []string{"tom to sip:bob@example.com"}, controller.take())
		end(d)
		time.Sleep(2 * time.Minute)
		d.start()
		settle()
		require.Equal(t, []string{"tom to "}, controller.take())
		d.synced()
		require.Empty(t, d.store.records(t)["publication"])
	})
}

type recordedForwards struct {
	mu   sync.Mutex
	list []string
}

func (r *recordedForwards) Forward(_ context.Context, user directory.Entry, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, user.ID+" to "+to)
	return nil
}

func (r *recordedForwards) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// A list of RLMI is shown as a whole once something of it has changed (RFC 4662 §5.2),
// with a version above those before; so is watcher information.
func TestRestartFullState(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		phone := d.standard("bob", "192.0.2.9")
		list, _ := phone.open("sip:rls@example.com", resourceLists("sip:tom@example.com", "sip:ann@example.com"), "Expires: 300",
			"Require: recipient-list-subscribe", "Supported: eventlist", "Content-Type: application/resource-lists+xml")
		require.NotEmpty(t, list.of(d.net.take()))
		end(d)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, list.of(d.net.take()))
		d.client("tom", "192.0.2.8").status("", "busy", "1")
		n := list.one()
		require.Contains(t, string(n.Body), `fullState="true"`)
		require.Contains(t, string(n.Body), "sip:ann@example.com")
		require.Equal(t, 2, strings.Count(string(n.Body), "<presence "))
	})
}

// Watcher information goes on silently too, and then with all of it (RFC 3858 §3.2).
func TestRestartWatcherInfo(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		d := newDurable(t)
		d.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		d.net.take()
		info, _ := d.standard("tom", "192.0.2.8").winfo("sip:tom@example.com", "Accept: application/watcherinfo+xml")
		before, _ := info.one().watcherInfo(t)
		end(d)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Empty(t, info.of(d.net.take()))
		d.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
		time.Sleep(10 * time.Second)
		version, watchers := info.one().watcherInfo(t)
		require.Greater(t, version, before)
		require.ElementsMatch(t, []string{"sip:ann@example.com", "sip:bob@example.com"}, watchers)
	})
}

// Before the store has been read requests are told to come back in a second; so are
// those that come while the server ends.
func TestRestartComeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &faulty{}
		w := newWorld(t, func(c *presence.Config) { c.Store = store })
		_, res := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 503, res.Status)
		require.Equal(t, "1", res.Header.Get("Retry-After"))
		require.NoError(t, w.server.Restore(t.Context()))
		_, res = w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		require.NoError(t, w.server.Shutdown(t.Context()))
		_, res = w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 503, res.Status)
		require.Equal(t, "1", res.Header.Get("Retry-After"))
	})
}

// BSX-7: a store that fails, or takes its time, stops nothing; what it did not take it
// gets once it works again.
func TestStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t)
		d.store.fail(errDisk)
		tom := d.client("tom", "192.0.2.8")
		own, res := tom.subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		brief, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		tag := etag(tom.status("", "busy", "1"))
		require.NotEmpty(t, own.of(d.net.take()))
		time.Sleep(time.Minute)
		require.Equal(t, 200, brief.end().Status)
		st := d.server.Stats()
		require.True(t, st.StoreFailing)
		require.NotZero(t, st.StoreWaiting)
		require.NotZero(t, st.StoreErrors)
		require.Less(t, st.StoreErrors, uint64(40), "it is not asked all the time")
		d.store.repair()
		time.Sleep(6 * time.Second)
		st = d.server.Stats()
		require.False(t, st.StoreFailing)
		require.Zero(t, st.StoreWaiting)
		d.kill()
		d.start()
		require.Len(t, d.server.Subscriptions(), 1)
		require.Equal(t, tag, d.server.Publications()[0].ETag)
		require.Equal(t, 200, own.refresh().Status)
	})
}

// A server whose store has failed at the end tells its watchers to subscribe again, as
// one without a store does.
func TestStoreFailsAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t)
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		d.net.take()
		d.store.fail(errDisk)
		watcher.refresh()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_ = d.server.Shutdown(ctx)
		require.Equal(t, "terminated;reason=deactivated", watcher.one().state())
	})
}

// BSX-11: with StoreAlways an answer waits for the store, and is 503 where that fails;
// whoever asks at the same time waits for one write.
func TestStoreAlways(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t, func(c *presence.Config) { c.StoreAlways = true })
		const delay = 300 * time.Millisecond
		d.store.slow(delay)
		began := time.Now()
		own, res := d.client("tom", "192.0.2.8").subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		require.GreaterOrEqual(t, time.Since(began), delay)
		d.kill() // at once: nothing is lost
		d.start()
		require.Len(t, d.server.Subscriptions(), 1)
		require.Equal(t, 200, own.refresh().Status)
		d.store.fail(errDisk)
		_, res = d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 503, res.Status)
		require.Len(t, d.server.Subscriptions(), 1)
		d.store.repair()
		time.Sleep(10 * time.Second)
		_, res = d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
	})
}

// BSX-11: with StoreAlways a PUBLISH that the store does not take is as if it had not been:
// nobody is shown it, a crash takes nothing back, and the same request is taken later. That
// goes for new publications, changes, refreshes and ends, and for clients of either dialect.
func TestNotStoredIsUndone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t, func(c *presence.Config) { c.StoreAlways = true })
		watcher, _ := d.standard("bob", "192.0.2.7").subscribe("sip:tom@example.com")
		d.net.take()
		tom := d.standard("tom", "192.0.2.9")
		body := func(basic string) string {
			return `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:tom@example.com"><tuple id="t"><status><basic>` + basic + `</basic></status></tuple></presence>`
		}
		broken := func(f func() *sipx.Response) {
			t.Helper()
			before := d.server.Publications()
			d.store.fail(errDisk)
			res := f()
			require.Equal(t, 503, res.Status)
			require.Equal(t, before, d.server.Publications())
			d.store.repair()
			time.Sleep(20 * time.Second)
			require.Empty(t, d.net.take())
		}
		tag := func(res *sipx.Response) string { require.Equal(t, 200, res.Status); return res.Header.Get("SIP-ETag") }

		first := func() *sipx.Response { return tom.publish("", body("open")) }
		broken(first)
		broken(first)
		old := tag(first())
		require.Len(t, d.server.Publications(), 1)
		require.Contains(t, string(watcher.one().Body), "<basic>open</basic>")
		change := func() *sipx.Response { return tom.publish(old, body("closed")) }
		broken(change)
		broken(func() *sipx.Response { return tom.publish(old, "") })
		end := func() *sipx.Response { return tom.publish(old, "", "Expires: 0") }
		broken(end)
		old = tag(change())
		require.Len(t, d.server.Publications(), 1)
		require.Equal(t, 200, end().Status)
		require.Empty(t, d.server.Publications())
		d.net.take()

		desk := d.client("tom", "192.0.2.8")
		signIn := func() *sipx.Response { return desk.status("", "busy", "first") }
		broken(signIn)
		require.Zero(t, d.server.Stats().Clients)
		require.Equal(t, 200, signIn().Status)
		d.net.take()
		broken(func() *sipx.Response { return desk.status("", "away", "second") })
		d.kill()
		d.start()
		require.Equal(t, "first", d.server.Publications()[0].Note)
	})
}

// BSX-11: with StoreAlways nobody is shown what was published before it is stored, also
// where something else changes meanwhile: what a crash takes back, nobody has seen.
func TestStoreAlwaysShows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDurable(t, func(c *presence.Config) { c.StoreAlways = true })
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		d.net.take()
		time.Sleep(time.Second)
		const delay = time.Second
		d.store.slow(delay)
		var res *sipx.Response
		var err error
		go func() { res = d.client("tom", "192.0.2.8").status("", "busy", "1") }()
		time.Sleep(delay / 2)
		go func() { err = d.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineBusy}) }()
		time.Sleep(delay/2 - time.Millisecond)
		require.Empty(t, d.net.take())
		time.Sleep(3 * delay)
		synctest.Wait()
		require.NoError(t, err)
		require.Equal(t, "1", watcher.one().note(t))
		require.Equal(t, 200, res.Status)
	})
}

// A store whose records are of another version is not read, and left as it is.
func TestRestoreVersion(t *testing.T) {
	var store presence.MemoryStore
	data := []byte(`{"format":1,"run":3}`)
	_, err := store.Apply(t.Context(), []presence.Write{{Kind: "run", Key: "server", Value: data}, {Kind: "client", Key: "a", Value: data}})
	require.NoError(t, err)
	var log strings.Builder
	w := newWorld(t, func(c *presence.Config) { c.Store, c.Logger = &store, slog.New(slog.NewTextHandler(&log, nil)) })
	require.ErrorContains(t, w.server.Restore(t.Context()), "the store is of another version: 1; this program knows 4")
	require.NoError(t, store.Load(t.Context(), func(r presence.Record) error {
		require.Equal(t, data, r.Value)
		return nil
	}))
	require.NotContains(t, log.String(), "left out", "the error says it")
}

// Records that cannot be read are told of once, and keep the others from nothing.
func TestRestoreLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log strings.Builder
		d := newDurable(t, func(c *presence.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		d.net.take()
		d.stop()
		for i := range 3 {
			_, err := d.store.MemoryStore.Apply(t.Context(), []presence.Write{{Kind: "line", Key: fmt.Sprint("bad", i), Value: []byte("?")}})
			require.NoError(t, err)
		}
		log.Reset()
		d.start()
		require.Equal(t, 200, watcher.refresh().Status)
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
		require.Contains(t, log.String(), "records=3")
	})
}

// BSX-11: nothing lives longer than what is granted, even where the clock was turned back
// while the server was down. That is what a server finds that grants less than before.
func TestRestartLongest(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		longest := 24 * time.Hour
		d := newDurable(t, func(c *presence.Config) { c.MaxPublishExpires, c.MaxSubscribeExpires = longest, longest })
		d.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com", "Expires: 86400")
		d.standard("tom", "192.0.2.8").publish("", openBody("in"), "Expires: 86400")
		longest = time.Hour
		end(d)
		d.start()
		time.Sleep(time.Hour - time.Minute)
		require.Len(t, d.server.Publications(), 1)
		require.Len(t, d.server.Subscriptions(), 1)
		time.Sleep(2 * time.Minute)
		require.Empty(t, d.server.Publications())
		require.Empty(t, d.server.Subscriptions())
	})
}

// BSX-11: who watches since before the restart was found out then: the directory is asked about
// those who are watched alone.
func TestRestartAsksLittle(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		dir, err := directory.NewMemory(users)
		require.NoError(t, err)
		var mu sync.Mutex
		asked := make(map[string]int)
		d := newDurable(t, func(c *presence.Config) {
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				mu.Lock()
				defer mu.Unlock()
				asked[a.String()]++
				return dir.Lookup(ctx, a)
			})
		})
		d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		d.client("bob", "192.0.2.8").list("sip:tom@example.com")
		require.NotZero(t, asked["sip:ann@example.com"])
		end(d)
		clear(asked)
		d.start()
		time.Sleep(presence.ResumeSpread)
		require.Len(t, d.server.Subscriptions(), 2)
		require.Equal(t, map[string]int{"sip:tom@example.com": 1}, asked)
	})
}

// clockJumps has the clock jump between two processes, by moving what is stored the other way.
func (d *durable) clockJumps(by time.Duration) {
	d.Helper()
	next := &faulty{}
	var all []presence.Write
	require.NoError(d, d.store.Load(d.Context(), func(r presence.Record) error {
		all = append(all, presence.Shift(d.T, r, -by))
		return nil
	}))
	_, err := next.MemoryStore.Apply(d.Context(), all)
	require.NoError(d, err)
	d.store = next
}

// BSX-11: the clock may jump between two processes. Where it goes back, everything goes on as
// if no time had passed, and lasts no longer than what is granted; where it goes ahead, by
// less than what is left, nobody notices either, and beyond that everything has expired.
func TestRestartClock(t *testing.T) {
	for _, jump := range []time.Duration{-10 * 365 * 24 * time.Hour, -time.Hour, -10 * time.Second, 10 * time.Second, 10 * 365 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			eachRestart(t, func(t *testing.T, end func(*durable)) {
				d := newDurable(t, func(c *presence.Config) { c.Store = nil })
				d.configure = func(c *presence.Config) { c.Store = d.store }
				d.start()
				tom := d.client("tom", "192.0.2.8")
				own, _ := tom.subscribe("sip:tom@example.com")
				tag := etag(tom.status("", "busy", "1"))
				watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
				require.NoError(t, d.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineBusy, Lifetime: 2 * time.Minute}))
				settle()
				sent := watcher.of(d.net.take())
				last := sent[len(sent)-1]
				end(d)
				d.clockJumps(jump)
				d.start()
				time.Sleep(presence.ResumeSpread)
				_, line := d.server.Feed().Line("2719")
				if jump > time.Hour {
					require.Equal(t, 481, watcher.refresh().Status)
					require.Equal(t, 481, own.refresh().Status)
					require.False(t, line)
					require.Empty(t, d.server.Clients())
					require.Empty(t, d.server.Publications())
					return
				}
				require.Empty(t, watcher.of(d.net.take()))
				require.True(t, line)
				require.Equal(t, 200, watcher.refresh().Status)
				require.Equal(t, 200, own.refresh().Status)
				res := tom.status(tag, "away", "2")
				require.Equal(t, 200, res.Status)
				n := watcher.one()
				require.Equal(t, "2", n.note(t))
				require.Greater(t, n.CSeq, last.CSeq)

				end(d) // nobody refreshes anything now
				d.clockJumps(jump)
				d.start()
				time.Sleep(2*time.Minute + time.Second)
				_, line = d.server.Feed().Line("2719")
				require.False(t, line)
				require.NotEmpty(t, d.server.Subscriptions())
				time.Sleep(3 * time.Minute)
				require.Empty(t, d.server.Subscriptions())
				time.Sleep(time.Hour)
				require.Empty(t, d.server.Clients())
				require.Empty(t, d.server.Publications())
			})
		})
	}
}

// The directory may be down when the server comes back: watchers see what they saw.
func TestRestartDirectoryDown(t *testing.T) {
	eachRestart(t, func(t *testing.T, end func(*durable)) {
		var down sync.Map
		dir, err := directory.NewMemory(users)
		require.NoError(t, err)
		d := newDurable(t, func(c *presence.Config) {
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				if _, is := down.Load("down"); is {
					return directory.Entry{}, errors.New("down")
				}
				return dir.Lookup(ctx, a)
			})
		})
		watcher, _ := d.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		tom := d.client("tom", "192.0.2.8")
		tag := etag(tom.status("", "busy", "1"))
		d.net.take()
		down.Store("down", true)
		end(d)
		d.start()
		time.Sleep(30 * time.Second)
		require.Equal(t, 200, watcher.refresh().Status)
		require.Empty(t, d.net.take())
		down.Delete("down")
		time.Sleep(time.Minute)
		require.Empty(t, d.net.take(), "nothing has changed")
		tom.status(tag, "busy", "2")
		require.Equal(t, "2", watcher.one().note(t))
	})
}
