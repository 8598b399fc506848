package dialoginfo

import (
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// leave ends what is left when run returns. At the PBX that is the dialog, which
// a last SUBSCRIBE ends; for as long as that may take its NOTIFYs are answered.
func (s *subscription) leave() {
	s.finish()
	s.next.stop()
	s.first.stop()
	d := s.dialog
	s.m.mu.Lock()
	s.over = true
	if d != nil && !d.Established() {
		delete(s.m.dialogs, d.CallID())
	}
	s.m.mu.Unlock()
	for len(s.inbox) > 0 {
		n := <-s.inbox
		s.afterwards(n.w, n.req)
	}
	if d == nil || !d.Established() {
		return
	}
	forget := time.AfterFunc(leaveTime, func() { s.m.unroute(d.CallID()) })
	x := newExchange(s.m, d, s.target, 0)
	s.m.cfg.Sender.Send(x.request(), &farewell{s, x, forget})
}

// afterwards answers a NOTIFY that comes when the subscription is over.
func (s *subscription) afterwards(w sipx.ResponseWriter, req *sipx.Request) {
	if s.dialog == nil {
		s.m.respond(w, sipx.NewResponse(481))
		return
	}
	state, refusal := s.dialog.Check(req, eventPackage)
	if refusal != nil {
		s.m.respond(w, refusal)
		return
	}
	s.m.respond(w, sipx.NewResponse(200))
	if state.State == subscriber.Terminated {
		s.m.unroute(req.CallID)
	}
}

// farewell is the exchange that ends a dialog, with nobody who waits for it. The
// dialog is its own by then.
type farewell struct {
	s        *subscription
	exchange *exchange
	forget   *time.Timer // of the dialog
}

// HandleResponse implements [sipx.ResponseHandler].
func (f *farewell) HandleResponse(req *sipx.Request, res *sipx.Response, err error) {
	if err == nil {
		var again bool
		if again, err = f.exchange.again(req, res); again {
			f.s.m.cfg.Sender.Send(f.exchange.request(), f)
			return
		}
	}
	if err != nil {
		f.s.log.Debug("a subscription was not ended", "error", err)
		f.forget.Reset(0)
	}
}
