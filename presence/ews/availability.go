package ews

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
)

// availability asks one server for the calendars of many mailboxes at once: those
// whose turn it is within a short time. It is safe for concurrent use.
type availability struct {
	server *server
	style  *style
	size   int
	gather time.Duration // how long a request waits for further mailboxes

	mu   sync.Mutex
	next *batch
}

// batch is one request, and who waits for it.
type batch struct {
	ctx     context.Context // ends when nobody waits any more
	cancel  context.CancelFunc
	asked   []asked
	waiting int           // guarded by availability.mu
	full    chan struct{} // closed when there is no room for more
	done    chan struct{} // closed when there are the answers
	answers []available
}

type asked struct {
	mail   string
	window calendar.Window
}

type available struct {
	list appointments
	err  error
}

// ask returns the appointments of a mailbox.
func (a *availability) ask(ctx context.Context, mail string, window calendar.Window) (appointments, error) {
	a.mu.Lock()
	b := a.next
	if b == nil {
		b = &batch{full: make(chan struct{}), done: make(chan struct{})}
		b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
		a.next = b
		go a.run(b)
	}
	i := len(b.asked)
	b.asked = append(b.asked, asked{mail, window})
	b.waiting++
	if len(b.asked) >= a.size {
		a.next = nil
		close(b.full)
	}
	a.mu.Unlock()
	defer a.leave(b)
	select {
	case <-b.done:
		return b.answers[i].list, b.answers[i].err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// leave notes that one waits no longer for a batch. The last one ends it.
func (a *availability) leave(b *batch) {
	a.mu.Lock()
	b.waiting--
	last := b.waiting == 0
	if last && a.next == b {
		a.next = nil
	}
	a.mu.Unlock()
	if last {
		b.cancel()
		<-b.done
	}
}

// run sends the request of a batch once it is complete.
func (a *availability) run(b *batch) {
	defer close(b.done)
	timer := time.NewTimer(a.gather)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.full:
	case <-b.ctx.Done():
	}
	a.mu.Lock()
	if a.next == b {
		a.next = nil
	}
	a.mu.Unlock()
	b.answers = a.all(b.ctx, b.asked)
}

// all returns the answers for mailboxes, in that order. Where one of them spoils
// the request, or the answer is too large, halves are asked for.
func (a *availability) all(ctx context.Context, list []asked) []available {
	answers, err := a.some(ctx, list)
	if err == nil {
		return answers
	}
	if len(list) > 1 && spoiled(err) {
		half := len(list) / 2
		return append(a.all(ctx, list[:half]), a.all(ctx, list[half:])...)
	}
	answers = make([]available, len(list))
	for i := range answers {
		answers[i].err = err
	}
	return answers
}

// spoiled reports whether fewer mailboxes may do better.
func spoiled(err error) bool {
	switch meaningOf(err) {
	case noMailbox, noAccess, ourFault:
		return true
	}
	return errors.Is(err, ErrLimit)
}

func (a *availability) some(ctx context.Context, list []asked) ([]available, error) {
	mails, window := make([]string, len(list)), list[0].window
	for i, q := range list {
		mails[i] = q.mail
		if q.window.From.Before(window.From) {
			window.From = q.window.From
		}
		window.To = later(window.To, q.window.To)
	}
	answer, err := a.server.call(ctx, getUserAvailability(mails, window.From, window.To))
	if err != nil {
		return nil, err
	}
	if len(answer.FreeBusy) != len(list) { // they name no mailbox: only the order tells
		return nil, fmt.Errorf("%w: GetUserAvailability: %d answers for %d mailboxes", ErrAnswer, len(answer.FreeBusy), len(list))
	}
	answers := make([]available, len(list))
	for i := range answers {
		answers[i].list, answers[i].err = a.read(&answer.FreeBusy[i], mails[i])
	}
	return answers, nil
}

// read returns what an answer says of one mailbox. An entry that cannot be read is
// left out.
func (a *availability) read(r *freeBusyResponse, mail string) (appointments, error) {
	if r.Message != nil {
		if err := r.Message.err(); err != nil {
			return nil, named(err, &request{operation: "GetUserAvailability", mailbox: mail})
		}
	}
	list, problem := a.style.available(r.View.Events)
	if problem != nil {
		a.server.cfg.Logger.Warn("an appointment is left out", "mailbox", mail, "error", problem)
	}
	return slices.Clip(list), nil
}
