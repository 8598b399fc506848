package presence_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

func pick[T any](m *model, list ...T) T { return list[m.rand.IntN(len(list))] }

// step does one thing, and lets some time pass.
func (m *model) step() {
	p := m.peers[m.rand.IntN(len(m.peers))]
	switch n := m.rand.IntN(100); {
	case n < 14:
		m.subscribe(p)
	case n < 30:
		m.again(p)
	case n < 50:
		m.publish(p)
	case n < 64:
		m.source()
	case n < 70:
		m.together()
	case n < 73:
		m.overtake(p)
	case n < 80:
		m.mood(p)
	case n < 84:
		m.weather.mu.Lock()
		m.weather.loss = pick(m, 0, 0, 5, 20)
		m.weather.mu.Unlock()
	case n < 87:
		m.tap.down.Store(!m.tap.down.Load())
		m.tracef("directory down: %t", m.tap.down.Load())
	case n < 91 && p.tcp:
		for _, f := range p.stack.Flows() {
			m.tracef("%s breaks its connection", p.host)
			p.stack.CloseFlow(f)
		}
	case n < 92, n < 95 && m.store != nil:
		m.restart()
	case n < 98 && !p.tcp:
		m.reborn(p)
	}
	m.pass()
}

// pass lets time go by: mostly little, so that much is under way at once.
func (m *model) pass() {
	most := pick(m, time.Millisecond, 30*time.Millisecond, 30*time.Millisecond, time.Second, 8*time.Second, 70*time.Second)
	time.Sleep(time.Nanosecond + rand2(m.rand, most))
}

func (m *model) expires() int { return 60 + m.rand.IntN(400) }

func (m *model) subscribe(p *peer) {
	own := "sip:" + p.name + "@example.com"
	switch n := m.rand.IntN(20); {
	case n < 6:
		p.subscribe([]string{own}, false, m.expires())
	case n < 12:
		p.subscribe([]string{pick(m, modelAddresses...)}, false, m.expires())
	case n < 18:
		p.subscribe(m.list(own), true, m.expires())
	case n < 19:
		p.subscribe([]string{pick(m, modelAddresses...)}, false, 0)
	default:
		p.subscribe([]string{own}, false, 30)
	}
}

// list makes a list of addresses, no two of them the same.
func (m *model) list(own string) []string {
	var uris []string
	if m.rand.IntN(2) == 0 {
		uris = append(uris, own)
	}
	for _, i := range m.rand.Perm(len(modelAddresses))[:1+m.rand.IntN(5)] {
		if modelAddresses[i] != own {
			uris = append(uris, modelAddresses[i])
		}
	}
	if len(uris) == 0 {
		uris = append(uris, own)
	}
	return uris
}

func (m *model) again(p *peer) {
	live := p.live()
	if len(live) == 0 {
		m.subscribe(p)
		return
	}
	d := pick(m, live...)
	switch n := m.rand.IntN(10); {
	case n < 5 || n < 8 && !d.list:
		d.again(m.expires())
	case n < 8:
		d.again(m.expires(), m.list("sip:"+p.name+"@example.com")...)
	default:
		d.again(0)
	}
}

func (m *model) publish(p *peer) {
	etag := p.current()
	switch n := m.rand.IntN(20); {
	case n < 2:
		etag = "stale"
	case n < 5:
		etag = ""
	}
	switch n := m.rand.IntN(20); {
	case n < 3:
		p.publish(etag, "", m.expires())
	case n < 6:
		p.publish(etag, "", 0)
	default:
		p.publish(etag, m.body(p), 4*m.expires())
	}
}

// body makes a document to publish.
func (m *model) body(p *peer) string {
	m.serial++
	note := pick(m, "", "n"+strconv.Itoa(m.serial))
	if p.standard {
		return pidfBody(pick(m, "open", "open", "closed"),
			pick(m, "", "<rpid:on-the-phone/>", "<rpid:meeting/>", "<rpid:busy/>", "<rpid:away/>"), note)
	}
	body := bluStarBody(pick(m, "available", "busy", "away", "do not disturb", "signed out", "be right back", "other", "inactive"), note)
	switch m.rand.IntN(4) {
	case 0: // leaves the note as it is
		from := strings.Index(body, "<aa:note")
		body = body[:from] + body[strings.Index(body, "</aa:note>")+len("</aa:note>"):]
	case 1: // has video
		body = strings.Replace(body, "closed", "open", 1)
	}
	return body
}

// source has a line, a calendar or an external presence system say something.
func (m *model) source() {
	now := time.Now()
	lifetime := pick(m, 0, 0, 20*time.Second+rand2(m.rand, time.Minute))
	until := time.Time{}
	if lifetime > 0 {
		until = now.Add(lifetime)
	}
	feed := m.tap.server.Load().Feed()
	m.advance(now)
	ref := m.refs[0] // the others have the same sources
	defer func() {
		for _, ref := range m.refs {
			m.overtaken(ref)
		}
	}()
	var err error
	switch n := m.rand.IntN(10); {
	case n < 5:
		dn := pick(m, "2719", "200", "201", "300")
		l := refLine{pick(m, aa.LineIdle, aa.LineRinging, aa.LineBusy), pick(m, "", "", "99"), until}
		m.tracef("line %s %v", dn, l)
		ref.lines[dn] = l
		err = feed.SetLine(m.own(), dn, presence.LineState{State: l.state, Forward: l.forward, Lifetime: lifetime})
	case n < 8:
		mail := pick(m, "tom@example.com", "ann@example.com")
		list := m.calendar(now)
		m.tracef("calendar %s %v", mail, list)
		ref.calendars[mail] = list
		err = feed.SetCalendar(m.own(), mail, presence.CalendarState{Appointments: list})
	default:
		id := pick(m, "tom", "ann", "bob")
		if m.rand.IntN(4) == 0 {
			delete(ref.externals, id)
			m.tracef("external %s nothing", id)
			err = feed.ClearExternal(m.own(), id+"@example.com")
			break
		}
		e := refExternal{pick(m, "", aa.StatusAvailable, aa.StatusBusy, aa.StatusAway), pick(m, "", "text"), pick(m, "", "sip:x@y"),
			pick(m, "", "on-the-phone"), until}
		m.tracef("external %s %v", id, e)
		ref.externals[id] = e
		err = feed.SetExternal(m.own(), id+"@example.com", presence.ExternalState{Status: e.status, FreeText: e.text,
			FwdDestination: e.forward, TelephoneEvent: e.talking, Lifetime: lifetime})
	}
	if err != nil {
		m.fail("feed: %v", err)
	}
}

func (m *model) calendar(now time.Time) (list []aa.Appointment) {
	for i := range m.rand.IntN(3) {
		from := now.Add(rand2(m.rand, 4*time.Minute) - 2*time.Minute)
		list = append(list, aa.Appointment{ID: strconv.Itoa(i), State: pick(m, aa.CalendarBusy, aa.CalendarTentative),
			Subject: pick(m, "a", "b"), Private: m.rand.IntN(3) == 0, From: from, End: from.Add(time.Second + rand2(m.rand, 3*time.Minute))})
	}
	return list
}

// together has some requests reach the server at one moment, in any order.
func (m *model) together() {
	at := time.Now().Add(time.Second)
	first := m.peers[m.rand.IntN(len(m.peers))]
	for range 2 + m.rand.IntN(2) {
		p := m.peers[m.rand.IntN(len(m.peers))]
		if m.rand.IntN(3) > 0 { // one of the same user
			for p.name != first.name {
				p = m.peers[m.rand.IntN(len(m.peers))]
			}
		}
		switch m.rand.IntN(4) {
		case 0:
			if d := p.live(); len(d) > 0 {
				m.arrive(at, "SUBSCRIBE", d[0].id, d[0].seq+1)
				d[0].again(pick(m, 0, m.expires()))
			}
		case 1:
			m.arrive(at, "SUBSCRIBE", fmt.Sprintf("s%d", m.serial+1), 1)
			p.subscribe([]string{"sip:" + p.name + "@example.com"}, false, m.expires())
		default:
			m.arrive(at, "PUBLISH", p.callID, p.seq+1)
			p.publish(p.current(), pick(m, m.body(p), m.body(p), ""), pick(m, 0, 4*m.expires(), 4*m.expires()))
		}
	}
	time.Sleep(time.Until(at))
	synctest.Wait()
	m.settle()
}

// overtake has a PUBLISH arrive before one that the client sent before it.
func (m *model) overtake(p *peer) {
	at := time.Now().Add(100 * time.Millisecond)
	for range 3 {
		delay := rand2(m.rand, 300*time.Millisecond)
		m.arrive(at.Add(delay), "PUBLISH", p.callID, p.seq+1)
		p.publish(p.current(), m.body(p), 4*m.expires())
	}
}

// arrive has a request over udp reach the server at a moment, for sure.
func (m *model) arrive(at time.Time, method, callID string, cseq uint32) {
	key := fmt.Sprintf("192.0.2.1:5060 %s sip:192.0.2.1:5060 SIP/2.0 Call-ID: %s CSeq: %d %s ", method, callID, cseq, method)
	m.weather.mu.Lock()
	defer m.weather.mu.Unlock()
	m.weather.due[key] = at
}

// mood changes how a client answers NOTIFYs, or whether it does.
func (m *model) mood(p *peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dark := false
	p.answer = peerAnswer{status: 200}
	switch m.rand.IntN(8) {
	case 0:
		dark = true
	case 1:
		p.answer.after = rand2(m.rand, 40*time.Second)
	case 2:
		p.answer.status = 481
	case 3:
		p.answer.status = 500
	case 4:
		p.answer.status, p.answer.retry = 503, strconv.Itoa(1+m.rand.IntN(10))
	}
	m.network.Blackhole(p.host, dark)
	m.tracef("%s dark=%t answers %+v", p.host, dark, p.answer)
}

// reborn has a client start again: it knows nothing of its dialogs, and answers nothing in
// them.
func (m *model) reborn(p *peer) {
	m.tracef("%s starts again", p.host)
	dialogs := p.live()
	m.mu.Lock()
	m.weather.mu.Lock()
	for _, d := range dialogs {
		d.dead = true
		m.weather.forgotten[d.id] = true
	}
	m.weather.mu.Unlock()
	m.mu.Unlock()
	p.subscribe([]string{"sip:" + p.name + "@example.com"}, false, m.expires())
}

// restart ends the process, in order or by a crash, and starts another. That knows what
// is in the store, or, without one, nothing of before.
func (m *model) restart() {
	old := m.tap
	m.settle()
	crash := m.rand.IntN(2) == 0
	m.tracef("restart, crash=%t, store=%t", crash, m.store != nil)
	if m.store == nil {
		old.finished.Store(true)
		old.deaf.Store(crash)
		m.stop(old)
		m.forget()
		m.cutStack()
		m.boot(nil, old.dir)
		time.Sleep(time.Millisecond)
		return
	}
	for m.problem == "" && old.server.Load().Stats().StoreWaiting > 0 { // what may be lost is not the question here
		time.Sleep(10 * time.Millisecond)
		m.settle()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if crash {
		old.finished.Store(true)
		old.deaf.Store(true)
		old.store.cut.Store(true)
		cancel()
		_ = old.server.Load().Shutdown(ctx)
	} else {
		old.leaving.Store(true)
		if err := old.server.Load().Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			m.fail("shutdown: %v", err)
		}
		old.finished.Store(true)
		m.settle()
	}
	m.cutStack()
	down := time.Now()
	for _, ref := range m.refs {
		for tag, d := range ref.dialogs {
			d.detached = d.detached || d.conn != 0
			d.conn, d.grace = 0, d.expires
			ref.dialogs[tag] = d
		}
	}
	time.Sleep(pick(m, time.Millisecond, time.Second, 20*time.Second, 20*time.Second+rand2(m.rand, 4*time.Minute)))
	m.advance(time.Now())
	m.boot(nil, old.dir)
	m.resumed(down)
	time.Sleep(time.Second) // until all have been told who are to be told something
}

// cutStack has the host of the server break its connections, and forget what it has sent.
func (m *model) cutStack() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.stack.Shutdown(ctx)
}

// resumed notes that another process goes on with everything that there was when the one
// before ended. Who was to be told of an end by that one is told nothing.
func (m *model) resumed(down time.Time) {
	for _, ref := range m.refs {
		for tag, d := range ref.dialogs {
			tells := d.endedAt.After(down) && d.expires.After(ref.now) // its client ended, and it not by itself
			switch {
			case d.state == refLive:
				d.grace = ref.now.Add(refGrace) // where it is detached
			case d.detached, !tells:
				d.state = refGone
			}
			if d.endedAt = (time.Time{}); tells {
				d.endedAt = ref.now
			}
			ref.dialogs[tag] = d
			m.trackers[tag].restarted(d.standard && d.list)
		}
	}
}
