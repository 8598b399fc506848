package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
)

// watch prints what the server tells until ctx ends, then signs out and prints
// the last of it.
func watch(ctx context.Context, fs *flag.FlagSet, o *options, args []string, e env) error {
	xml := fs.Bool("xml", false, "print the documents as they came")
	addresses, err := parse(fs, args, e)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if _, err := sipx.ParseURI(a); err != nil {
			return usageError(fmt.Sprintf("watch: %q is no sip: or tel: address", a))
		}
	}
	s, err := o.connect(e, nil)
	if err != nil {
		return err
	}
	if err := o.patiently(e, func() error { return s.Watch(ctx, addresses...) }); err != nil {
		s.abort(err)
		return err
	}
	show := line
	if *xml {
		show = document
	}
	var lost error
	for n := range s.Notifications(ctx) {
		show(e, n)
		if n.Err != nil && n.Own {
			lost = n.Err // without its own subscription the client is none
			break
		}
	}
	left := s.leave()
	for n := range s.Notifications(context.Background()) { // the last, now that it is closed
		show(e, n)
	}
	return errors.Join(lost, left)
}

// abort ends a session that could not begin: where the server has let it in,
// what there is of it is signed out.
func (s *session) abort(err error) {
	if _, answered := errors.AsType[*client.StatusError](err); answered && !errors.Is(err, client.ErrUnauthorized) {
		_ = s.leave()
		return
	}
	s.vanish()
}

// line prints one readable line.
func line(e env, n client.Notification) {
	fmt.Fprintln(e.stdout, n.Received.Format(time.TimeOnly), n.Summary())
}

// document prints the XML under a comment that says when it came.
func document(e env, n client.Notification) {
	s := n.Summary()
	what := s.Entity
	if s.Ended != "" {
		what += " ended: " + s.Ended
	}
	fmt.Fprintf(e.stdout, "<!-- %s %s -->\n", n.Received.Format(time.TimeOnly), printable(what))
	if len(n.Body) > 0 {
		fmt.Fprintf(e.stdout, "%s\n", n.Body)
	}
}
