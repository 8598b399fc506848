package presence_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// settle waits until nothing moves at this moment, and judges what passed.
func (m *model) settle() {
	synctest.Wait()
	events := m.tap.take()
	for len(events) > 0 && m.problem == "" {
		n := 1
		for n < len(events) && events[n].at.Equal(events[0].at) {
			n++
		}
		m.moment(events[:n])
		events = events[n:]
	}
	m.advance(time.Now())
	m.checkShown()
}

// advance lets time pass for the references.
func (m *model) advance(t time.Time) {
	for _, ref := range m.refs {
		for ref.now.Before(t) {
			ref.advance(ref.next(t))
			m.overtaken(ref)
		}
	}
}

// hold keeps the references that a check finds nothing wrong with. One must be left.
func (m *model) hold(check func(*reference) error) {
	var left []*reference
	var first error
	for _, ref := range m.refs {
		if err := check(ref); err == nil {
			left = append(left, ref)
		} else if first == nil {
			first = err
		}
	}
	if len(left) == 0 {
		m.fail("%v", first)
		return
	}
	m.refs = left
}

// overtaken notes which documents have changed while they are under way, or while
// their dialog pauses: they may be sent once more even where they changed back
// meanwhile.
func (m *model) overtaken(ref *reference) {
	for tag, tr := range m.trackers {
		paused := tr.waits()
		if tr.underWay == 0 && !paused {
			continue
		}
		d := ref.dialogs[tag]
		for _, w := range d.watches {
			if doc := tr.shown[w.entity]; doc != nil && (doc.underWay || paused || d.standard && d.list) && doc.view != ref.view(w.user, d.standard) {
				doc.asked = true
			}
		}
	}
}

// moment judges the events of one moment. Of several requests in it nobody can
// say which the server took first: some order must explain all answers, and what is
// shown later.
func (m *model) moment(events []event) {
	m.judged = events[0].at
	defer func() { m.judged = time.Time{} }()
	m.advance(m.judged)
	var together []exchange
	var found []directory.Address
	ended := false
	for _, e := range events {
		ended = ended || e.kind == connLost || errors.Is(e.err, sipx.ErrFlowClosed)
		switch e.kind {
		case exchanged:
			together = append(together, e.exchange)
		case foundAddress:
			found = append(found, e.address)
		}
	}
	before := m.refs[0]
	if len(together) > 0 { // a NOTIFY may leave before the answer to what caused it
		ask := m.exchanged(together, found, events)
		if ended { // what has changed may change back at once
			for _, ref := range m.refs {
				for _, doc := range m.differing(ref) {
					doc.asked = true
				}
			}
		}
		defer func() {
			for _, a := range ask { // and what was asked for follow it
				a.due = false
				m.ask([]asked{a})
			}
		}()
	}
	if len(together) > 1 {
		// What is sent between two of them may be out of date at once.
		defer func() {
			for _, tr := range m.trackers {
				tr.outdated()
			}
		}()
	}
	for _, e := range events {
		switch e.kind {
		case exchanged:
			m.tracef("server %d %s %s %d", e.res.Status, e.req.Method, e.req.CallID, e.req.CSeq)
			if tag := e.res.ToTag; e.req.Method == "SUBSCRIBE" && e.res.Status == 200 && m.trackers[tag] == nil {
				m.trackers[tag] = newTracker()
			}
		case notifySent:
			m.notifySent(e.notify, before)
		case notifyDone:
			tag := e.notify.From.Tag()
			if tr := m.trackers[tag]; tr != nil {
				m.notifyDone(e, tag, tr)
			}
		case connLost:
			m.tracef("connection %d is gone", e.conn)
			for _, ref := range m.refs {
				ref.flowClosed(e.conn)
			}
		case foundAddress:
			m.tracef("the directory has %s", e.address)
			for _, ref := range m.refs {
				m.ask(ref.resolve(e.address))
			}
		}
	}
}

// notifyDone judges the outcome of a NOTIFY. One that was not answered is sent
// again where the client answered another meanwhile (BSP-2.3-1).
func (m *model) notifyDone(e event, tag string, tr *tracker) {
	gone, silent, sentAt := tr.done(e.notify, e.res, e.err)
	if e.res != nil {
		tr.answered = e.at
		if d := m.refs[0].dialogs[tag]; d.hasClient {
			m.pulses[d.client] = e.at
		}
	}
	for _, ref := range m.refs {
		d := ref.dialogs[tag]
		silent := silent && !(d.state == refLive && d.hasClient && m.pulses[d.client].After(sentAt))
		if gone || silent {
			m.tracef("gone: %s %v", e.notify.CallID, e.err)
			tr.unreachable = true
			ref.lost(tag, silent)
		}
	}
}

// ends applies the ends of subscriptions among events, and reports whether there are any.
func (r *reference) ends(events []event) (any bool) {
	for _, e := range events {
		switch {
		case e.kind == connLost:
			any = true
			r.flowClosed(e.conn)
		case e.kind == notifyDone && (errors.Is(e.err, sipx.ErrFlowClosed) || e.err == nil && e.res.Status == 481):
			any = true
			r.lost(e.notify.From.Tag(), false)
		}
	}
	return any
}

// exchanged finds the orders of exchanges that explain all answers. At the same moment
// the directory had these addresses. What ends in it may do so before them: over a
// connection an answer and a request come together. Where several orders do, what
// follows tells them apart.
func (m *model) exchanged(list []exchange, resolved []directory.Address, events []event) []asked {
	var first error
	var found []*reference
	var asks [][]asked
	known := map[string]bool{}
	for _, from := range m.refs {
		for order, endsFirst := range ordersAndEnds(len(list)) {
			ref := from.clone()
			if endsFirst && !ref.ends(events) {
				break // it makes no difference
			}
			var all []asked
			var passed []*trackedDoc
			var err error
			for _, i := range order {
				var more []asked
				if more, err = ref.apply(list[i]); err != nil {
					break
				}
				all = append(all, more...)
				m.overtaken(ref)
				if len(list) > 1 {
					passed = append(passed, m.differing(ref)...)
				}
			}
			if err == nil && len(list) > 1 && m.judged.Equal(time.Now()) {
				then := ref.clone()
				for _, a := range resolved {
					then.resolve(a)
				}
				err = m.agrees(then)
			}
			if err != nil {
				first = cmp.Or(first, err)
				continue
			}
			for _, doc := range passed { // it may have changed and changed back
				doc.asked = true
			}
			asks = append(asks, all)
			if key := ref.key(); !known[key] {
				known[key] = true
				found = append(found, ref)
			}
		}
	}
	if found == nil {
		m.fail("%v", first)
		return nil
	}
	m.refs = found
	ask := inAll(asks)
	m.ask(ask)
	return ask
}

// inAll returns what is asked for in any of several orders: due is what is so in all.
func inAll(lists [][]asked) (all []asked) {
	for i, list := range lists {
		for _, a := range list {
			sure := true
			for _, other := range lists {
				sure = sure && slices.Contains(other, a)
			}
			if a.due = a.due && sure; !sure || i == 0 {
				all = append(all, a)
			}
		}
	}
	return all
}

// differing returns the documents that do not show what ref says.
func (m *model) differing(ref *reference) []*trackedDoc {
	var docs []*trackedDoc
	for tag, tr := range m.trackers {
		d := ref.dialogs[tag]
		for _, w := range d.watches {
			if doc := tr.shown[w.entity]; doc != nil && doc.view != ref.view(w.user, d.standard) {
				docs = append(docs, doc)
			}
		}
	}
	return docs
}

// agrees compares ref with what the server would show.
func (m *model) agrees(ref *reference) error {
	for _, u := range modelUsers {
		v, err := m.tap.server.Load().Presence(m.own(), "sip:"+u.SIP[0])
		if err != nil {
			return err
		}
		if got, want := seen(v.Document), ref.view(u.ID, false); got != want {
			return fmt.Errorf("%s is\n  %s, want\n  %s", u.ID, got, want)
		}
	}
	return nil
}

// ordersAndEnds yields all orders of n things, first with the ends after them, then with
// the ends before them.
func ordersAndEnds(n int) func(func([]int, bool) bool) {
	return func(yield func([]int, bool) bool) {
		for _, endsFirst := range []bool{false, true} {
			for order := range orders(n) {
				if !yield(order, endsFirst) {
					return
				}
			}
		}
	}
}

// orders yields all orders of n things.
func orders(n int) func(func([]int) bool) {
	return func(yield func([]int) bool) {
		var walk func(done, left []int) bool
		walk = func(done, left []int) bool {
			if len(left) == 0 {
				return yield(done)
			}
			for i := range left {
				rest := slices.Delete(slices.Clone(left), i, i+1)
				if !walk(append(slices.Clone(done), left[i]), rest) {
					return false
				}
			}
			return true
		}
		left := make([]int, n)
		for i := range left {
			left[i] = i
		}
		walk(nil, left)
	}
}

func (m *model) ask(list []asked) {
	for _, a := range list {
		tr := m.trackers[a.tag]
		if tr == nil {
			continue
		}
		tr.ask(a)
		if a.entity == "" && a.due && len(m.refs[0].dialogs[a.tag].watches) > 1 {
			// BSX-9: whole lists are shown no more often than every five seconds.
			if now, next := m.refs[0].now, tr.full.Add(5*time.Second); !next.After(now) {
				tr.full, tr.postponed = now, false
			} else if !tr.full.After(now) {
				tr.full, tr.postponed = next, true
			}
		}
	}
}

// notifySent judges a NOTIFY; before is what was known before the moment at which
// it left.
func (m *model) notifySent(req *sipx.Request, before *reference) {
	tag := req.From.Tag()
	tr := m.trackers[tag]
	state := req.Header.Get("Subscription-State")
	m.tracef("NOTIFY %d of %s %s", req.CSeq, req.CallID, state)
	if tr == nil {
		m.fail("NOTIFY %d of %s leaves before the 200", req.CSeq, req.CallID)
		return
	}
	if err := tr.sent(req, m.judged); err != nil {
		m.fail("%s: %v", req.CallID, err)
	}
	docs, err := documents(req)
	if err != nil {
		m.fail("%s: %v", req.CallID, err)
	}
	m.hold(func(ref *reference) error {
		d := ref.dialogs[tag]
		if strings.HasPrefix(state, "terminated") && d.state == refLive {
			return fmt.Errorf("%s was ended", req.CallID)
		}
		for _, doc := range docs {
			if !slices.ContainsFunc(slices.Concat(d.watches, before.dialogs[tag].watches), func(w refWatch) bool { return w.entity == doc.Entity }) {
				return fmt.Errorf("%s is shown %s, which it does not watch", req.CallID, doc.Entity)
			}
		}
		return nil
	})
}

// checkShown holds what each live watcher was sent last against what it must be
// shown.
func (m *model) checkShown() {
	if m.problem == "" && !m.tap.finished.Load() {
		m.hold(m.shows)
	}
}

func (m *model) shows(ref *reference) error {
	for tag, d := range ref.dialogs {
		tr := m.trackers[tag]
		if d.state == refEnded && tr.underWay == 0 && tr.final == "" && !tr.unreachable {
			return fmt.Errorf("%s has ended (%s) and is not told", d.callID, d.reason)
		}
		if d.state == refEnded && tr.final != "" && tr.final != "terminated;reason="+d.reason && !d.expires.Equal(d.endedAt) {
			return fmt.Errorf("%s ended with %s, want %s", d.callID, tr.final, d.reason)
		}
		if d.state != refLive {
			continue
		}
		if tr.final != "" {
			return fmt.Errorf("%s is live and has had its last NOTIFY", d.callID)
		}
		for _, w := range d.watches {
			doc := tr.shown[w.entity]
			if d.standard && d.list && tr.underWay > 0 || tr.waits() || d.detached {
				continue // it follows, once that was answered, or after the pause, or over the next connection
			}
			want := ref.view(w.user, d.standard)
			if doc == nil {
				return fmt.Errorf("%s is not shown %s", d.callID, w.entity)
			} else if doc.due && !tr.full.After(ref.now) {
				return fmt.Errorf("%s is not shown %s, for which it asked", d.callID, w.entity)
			} else if doc.view != want {
				return fmt.Errorf("%s shows %s\n  %s, want\n  %s", d.callID, w.entity, doc.view, want)
			}
		}
	}
	return nil
}
