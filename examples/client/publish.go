package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/client"
)

// statuses are what a client may publish: those of aa.xsd.
var statuses = []pidf.Status{
	pidf.StatusAvailable, pidf.StatusBusy, pidf.StatusDoNotDisturb, pidf.StatusSignedOut,
	pidf.StatusAway, pidf.StatusInactive, pidf.StatusBeRightBack, pidf.StatusOther, pidf.StatusUnknown,
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
	if !slices.Contains(statuses, pidf.Status(*status)) {
		return usageError(fmt.Sprintf("-status %q is none of %q", *status, statuses))
	}
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	s, err := o.connect(e, func(cfg *client.Config) { cfg.PublicationLost = lost })
	if err != nil {
		return err
	}
	p := client.Publication{Status: pidf.Status(*status), Note: *note}
	if *once {
		// Without an own subscription, whose end would be that of the client too.
		err := s.Publish(ctx, p)
		s.vanish()
		return err
	}
	err = s.SignIn(ctx)
	if err == nil {
		err = s.Publish(ctx, p)
	}
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
	if err := s.Publish(ctx, client.Publication{Status: pidf.StatusSignedOut}); err != nil {
		s.abort(err)
		return err
	}
	return s.leave()
}
