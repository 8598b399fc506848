package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
)

// statuses are what a client may publish: those of aa.xsd.
var statuses = []aa.Status{
	aa.StatusAvailable, aa.StatusBusy, aa.StatusDoNotDisturb, aa.StatusSignedOut,
	aa.StatusAway, aa.StatusInactive, aa.StatusBeRightBack, aa.StatusOther, aa.StatusUnknown,
}

// publish publishes a status and stays signed in until ctx ends, printing what
// the server makes of it.
func publish(ctx context.Context, fs *flag.FlagSet, o *options, args []string, e env) error {
	status := fs.String("status", "available", "available, busy, \"do not disturb\", \"signed out\" or another of the schema")
	note := fs.String("note", "", "the user's text; empty deletes it")
	once := fs.Bool("once", false, "leave the publication behind and end")
	rest, err := parse(fs, args, e)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usageError(fmt.Sprintf("publish: unexpected argument %q", rest[0]))
	}
	if !slices.Contains(statuses, aa.Status(*status)) {
		return usageError(fmt.Sprintf("-status %q is none of %q", *status, statuses))
	}
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	s, err := o.connect(e, func(cfg *client.Config) { cfg.PublicationLost = lost })
	if err != nil {
		return err
	}
	p := client.Publication{Status: aa.Status(*status), Note: *note}
	if *once {
		// Without an own subscription, whose end would be that of the client too.
		err := o.patiently(e, func() error { return s.Publish(ctx, p) })
		s.vanish()
		return err
	}
	err = o.patiently(e, func() error {
		if err := s.SignIn(ctx); err != nil {
			return err
		}
		return s.Publish(ctx, p)
	})
	if err != nil {
		s.abort(err)
		return err
	}
	fmt.Fprintln(e.stderr, "published; Ctrl-C signs out")
	var failed error
	for n := range s.Notifications(ctx) {
		line(e, n)
		if n.Err != nil {
			failed = n.Err
			break
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		failed = cause
	}
	return errors.Join(failed, s.leave())
}

// signOut says so, for the user's other clients do not, and ends this one.
func signOut(ctx context.Context, fs *flag.FlagSet, o *options, args []string, e env) error {
	rest, err := parse(fs, args, e)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usageError(fmt.Sprintf("signout: unexpected argument %q", rest[0]))
	}
	s, err := o.connect(e, nil)
	if err != nil {
		return err
	}
	bye := client.Publication{Status: aa.StatusSignedOut}
	if err := o.patiently(e, func() error { return s.Publish(ctx, bye) }); err != nil {
		s.abort(err)
		return err
	}
	return s.leave()
}
