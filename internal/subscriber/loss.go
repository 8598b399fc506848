package subscriber

import (
	"errors"
	"fmt"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// Ended is a NOTIFY that ended the dialog (RFC 6665 §4.1.3).
type Ended struct{ SubscriptionState }

func (e *Ended) Error() string {
	return fmt.Sprintf("subscriber: the notifier ended the subscription: %q", e.Reason)
}

// A Loss is a SUBSCRIBE that failed, or a dialog that ended.
type Loss struct {
	Err    error         // a [*Failure], an [*Ended], [ErrNoNotify], [ErrStuck], or the Sender's
	Lasts  bool          // the dialog goes on, and the SUBSCRIBE is tried again
	Gone   bool          // a dialog that was open has ended
	Steady bool          // the dialog has lasted for a while; a new one follows, soon
	Began  time.Time     // when the dialog did; zero for one that was not opened
	Asked  time.Duration // how long the notifier asks to wait; a new dialog follows then

	stands bool // the dialog is there, for a Farewell
}

// failed takes the failure of a SUBSCRIBE. Who waits for it hears of it, else the
// Watcher.
func (s *Subscription) failed(err error) error {
	opening, lifetime := s.since.IsZero(), s.exchange.Expires
	s.finish()
	var status int
	var asked time.Duration
	if failure, ok := errors.AsType[*Failure](err); ok {
		status, asked = failure.Status, failure.RetryAfter
	}
	gone := !opening && EndsDialog(status)
	if s.asked == nil {
		switch {
		case opening:
			return s.lost(Loss{Err: err, Asked: asked}, false)
		case gone:
			return s.lost(Loss{Err: err, Gone: true, Asked: asked, Steady: s.hasLasted()}, true)
		}
		return s.retry(err, asked)
	}
	switch {
	case gone && lifetime == 0:
		s.reply(nil) // as wanted
		return ErrOver
	case gone:
		s.drop()
		s.subscribe(lifetime)
		return nil
	case opening:
		s.drop()
	}
	if lifetime > 0 && s.kept {
		s.next.set(max(minRetry, asked))
	}
	s.reply(err)
	return nil
}

// retry takes the failure of a refresh after which the dialog goes on (RFC 6665
// §4.1.2.2): it is tried again for as long as the dialog lasts.
func (s *Subscription) retry(err error, asked time.Duration) error {
	pause := max(s.backoff.Next(), asked)
	if errors.Is(err, sipx.ErrStackClosed) || time.Now().Add(pause).After(s.expires) {
		return s.lost(Loss{Err: err, Asked: asked, stands: true}, false)
	}
	if err := s.w.Lost(Loss{Err: err, Lasts: true}); err != nil {
		return err
	}
	s.log.Warn("a subscription was not refreshed", "error", err, "pause", pause)
	s.next.set(pause)
	return nil
}

// lost goes on with a new dialog where one has ended or could not be opened: after the
// pause that was asked for; at once, where that may help and the dialog had lasted; else
// with back-off, so that no failure can become a storm.
func (s *Subscription) lost(loss Loss, atOnce bool) error {
	loss.Began = s.since
	if !loss.stands {
		s.drop()
	}
	s.reply(nil) // a NOTIFY was faster, and what is next is said here
	if s.leaving.Load() {
		return ErrOver
	}
	if err := s.w.Lost(loss); err != nil {
		return err
	}
	s.drop()
	s.told = loss.Asked > 0
	if loss.Steady {
		s.backoff.Reset()
	}
	if atOnce && loss.Steady && loss.Asked == 0 {
		s.log.Info("a subscription has ended, opening another", "error", loss.Err)
		s.subscribe(s.lasts)
		return nil
	}
	pause := max(s.backoff.Next(), loss.Asked)
	if loss.Asked > 0 && s.cfg.Spread != nil {
		pause = max(pause, s.cfg.Spread(loss.Asked))
	}
	s.log.Warn("a subscription is to be opened again", "error", loss.Err, "pause", pause)
	s.next.set(pause)
	return nil
}

// hasLasted reports whether the dialog was one for a while.
func (s *Subscription) hasLasted() bool {
	return !s.since.IsZero() && s.dialog.Notified() && time.Since(s.since) >= min(steady, s.granted/2)
}

// overdue goes on where a SUBSCRIBE was accepted and no NOTIFY came that could be taken
// (RFC 6665 §4.1.2.4). A notifier whose CSeq starts anew in the dialog is one of these:
// all its NOTIFYs are refused until it has counted up, and a new dialog heals that.
func (s *Subscription) overdue() error {
	switch s.first.at = (time.Time{}); {
	case s.dialog == nil:
		return nil
	case !s.dialog.Notified():
		return s.lost(Loss{Err: ErrNoNotify, stands: true}, false)
	case s.doubtful():
		return s.lost(Loss{Err: ErrStuck, Gone: true, Steady: true}, true)
	}
	return nil
}
