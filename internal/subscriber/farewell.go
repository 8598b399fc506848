package subscriber

import (
	"time"

	"github.com/openblustar/blustar/sipx"
)

// Farewell has a last SUBSCRIBE end the dialog, and waits for nothing: its NOTIFYs are
// answered for as long as that may take. It is called once, after Run.
func (s *Subscription) Farewell() {
	if s.dialog == nil || !s.dialog.Established() {
		s.Forget()
		return
	}
	s.exchange = &Exchange{Answer: s.cfg.Answer, Refused: s.cfg.Refused}
	f := &farewell{s, time.AfterFunc(farewellTime, s.Forget)}
	s.cfg.Sender.Send(s.request(), f)
}

// farewell is the exchange that ends the dialog. Both are its own by then.
type farewell struct {
	s      *Subscription
	forget *time.Timer
}

// HandleResponse implements [sipx.ResponseHandler].
func (f *farewell) HandleResponse(req *sipx.Request, res *sipx.Response, err error) {
	if err == nil {
		again, failure := f.s.exchange.Again(req, res)
		if again {
			f.s.cfg.Sender.Send(f.s.request(), f)
			return
		}
		if failure == nil {
			return
		}
		err = failure
	}
	f.s.log.Debug("a subscription was not ended", "error", err)
	f.forget.Reset(0)
}

// afterwards answers a NOTIFY that comes when Run has returned.
func (s *Subscription) afterwards(w sipx.ResponseWriter, req *sipx.Request) {
	if s.dialog == nil {
		s.respond(w, sipx.NewResponse(481))
		return
	}
	state, refusal := s.dialog.Check(req, s.cfg.Event)
	if refusal != nil {
		s.respond(w, refusal)
		return
	}
	s.respond(w, sipx.NewResponse(200))
	if state.State == Terminated {
		s.Forget()
	}
}
