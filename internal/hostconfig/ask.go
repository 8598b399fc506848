package hostconfig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
)

// Question is something that is asked of others when a configuration is checked online.
// Ask returns what there is to say of the answer, which may be nothing.
type Question struct {
	Name string
	Ask  func(context.Context) (string, error)
}

// questionTime bounds each question.
const questionTime = 30 * time.Second

var errFailed = errors.New("not all of them answered as they should")

// Ask asks one question after the other, and prints a line for each that begins with
// "ok: " or "failed: ". The error says that one has failed.
func Ask(ctx context.Context, questions []Question, out io.Writer) error {
	var failed error
	for _, q := range questions {
		ctx, cancel := context.WithTimeout(ctx, questionTime)
		said, err := q.Ask(ctx)
		cancel()
		if err != nil {
			failed = errFailed
			fmt.Fprintln(out, OneLine(fmt.Sprintf("failed: %s: %v", q.Name, err)))
			continue
		}
		fmt.Fprintln(out, OneLine("ok: "+q.Name+said))
	}
	return failed
}

// Questions are those that the sources can be asked: for a token and, where user is an
// address, for what users and the sources have of that user.
func (s *Sources) Questions(users directory.Directory, user string) (questions []Question) {
	if s.app != nil {
		questions = append(questions, Question{"microsoft: token", func(ctx context.Context) (string, error) { return "", s.app.CheckToken(ctx) }})
	}
	if user == "" {
		return questions
	}
	var entry directory.Entry // once it is known
	questions = append(questions, Question{"directory: " + user, func(ctx context.Context) (string, error) {
		address, err := directory.ParseAddress(user)
		if err != nil {
			return "", err
		}
		if entry, err = users.Lookup(ctx, address); err != nil {
			return "", err
		}
		return fmt.Sprintf(" is %s, mailbox %q, devices %q", entry.ID, entry.Mail, entry.Lines), nil
	}})
	if s.Calendar != nil {
		questions = append(questions, Question{"calendar: " + user, func(ctx context.Context) (string, error) {
			if entry.Mail == "" {
				return "", errors.New("the mailbox is not known")
			}
			return first(ctx, func(ctx context.Context, update func(presence.CalendarState)) error {
				return s.Calendar.MonitorCalendar(ctx, entry.Mail, update)
			}, func(v presence.CalendarState) string { return fmt.Sprintf(" has %d appointments", len(v.Appointments)) })
		}})
	}
	if s.External != nil {
		questions = append(questions, Question{"teams: " + user, func(ctx context.Context) (string, error) {
			if entry.ID == "" {
				return "", errors.New("the user is not known")
			}
			return first(ctx, func(ctx context.Context, update func(presence.ExternalState)) error {
				return s.External.MonitorExternal(ctx, entry, update)
			}, func(v presence.ExternalState) string { return fmt.Sprintf(" is %q", v.Status) })
		}})
	}
	return questions
}

// first runs a monitor until its first value, and says what that is.
func first[V any](ctx context.Context, monitor func(context.Context, func(V)) error, say func(V) string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said, known := "", false
	err := monitor(ctx, func(v V) {
		if !known {
			said, known = say(v), true
		}
		cancel()
	})
	if known {
		return said, nil
	}
	return "", err
}
