package subscriber_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

var (
	ann = sipx.URI{Scheme: "sip", User: "ann", Host: "example.com"}
	tom = sipx.URI{Scheme: "sip", User: "tom", Host: "example.com"}
)

func field(name, value string) sipx.Field { return sipx.Field{Name: name, Value: value} }

// routes are the Record-Route and Contact fields of the notifier.
var routes = sipx.Header{
	field("Record-Route", "<sip:192.0.2.1;lr>, <sip:192.0.2.2;lr>"), field("Record-Route", "<sip:192.0.2.3;lr>"),
	field("Contact", "<tel:7>"), field("Contact", "<mailto:x@y>, <sip:192.0.2.9>"),
}

// notify makes a NOTIFY for the dialog of req.
func notify(req *sipx.Request, tag string, cseq uint32, fields ...sipx.Field) *sipx.Request {
	return &sipx.Request{
		Method: "NOTIFY", From: req.To.WithTag(tag), To: req.From, CallID: req.CallID, CSeq: cseq,
		Header: append(sipx.Header{field("Event", "presence"), field("Subscription-State", "active")}, fields...),
	}
}

// RFC 3261 §12.1: the remote half comes with the 2xx or the NOTIFY, whichever is
// first, and the route set in the order that this one has it.
func TestDialog(t *testing.T) {
	answer := sipx.NewResponse(200, routes...)
	answer.ToTag = "a"
	for name, test := range map[string]struct {
		establish func(*subscriber.Dialog, *sipx.Request)
		tag       string
		route     []string
	}{
		"2xx first": {func(d *subscriber.Dialog, req *sipx.Request) {
			d.Accepted(answer)
			d.Take(notify(req, "b", 1))
		}, "a", []string{"<sip:192.0.2.3;lr>", "<sip:192.0.2.2;lr>", "<sip:192.0.2.1;lr>"}},
		"NOTIFY first": {func(d *subscriber.Dialog, req *sipx.Request) {
			d.Take(notify(req, "b", 1, routes...))
			d.Accepted(answer)
		}, "b", []string{"<sip:192.0.2.1;lr>", "<sip:192.0.2.2;lr>", "<sip:192.0.2.3;lr>"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := subscriber.NewDialog(ann, []string{"<sip:proxy;lr>"})
			first := d.Subscribe(tom, ann)
			require.Equal(t, ann, first.URI)
			require.Equal(t, []string{"<sip:proxy;lr>"}, first.Route)
			require.Empty(t, first.To.Tag())
			require.False(t, d.Established() || d.Notified())

			test.establish(d, first)
			require.True(t, d.Established() && d.Notified())
			next := d.Subscribe(tom, ann)
			require.Equal(t, first.From, next.From)
			require.Equal(t, d.CallID(), next.CallID)
			require.Equal(t, first.CSeq+1, next.CSeq)
			require.Equal(t, test.tag, next.To.Tag())
			require.Equal(t, test.route, next.Route)
			require.Equal(t, sipx.URI{Scheme: "sip", Host: "192.0.2.9"}, next.URI)

			d.Take(notify(first, test.tag, 2, field("Contact", "<sip:192.0.2.8>")))
			require.Equal(t, "192.0.2.8", d.Subscribe(tom, ann).URI.Host, "a target refresh (RFC 6665 §4.4.1)")
		})
	}
}

// A route set that cannot be followed, or is longer than anyone's, is none.
func TestBadRouteSet(t *testing.T) {
	long := make(sipx.Header, 17)
	for i := range long {
		long[i] = field("Record-Route", fmt.Sprintf("<sip:192.0.2.%d;lr>", i))
	}
	for _, h := range []sipx.Header{long, {field("Record-Route", "<sip:192.0.2.1;lr>, <")}} {
		d := subscriber.NewDialog(ann, nil)
		d.Take(notify(d.Subscribe(tom, ann), "a", 1, h...))
		require.Empty(t, d.Subscribe(tom, ann).Route)
	}
}

// RFC 6665 §4.1.3.
func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*sipx.Request)
		status int
	}{
		"good":              {func(*sipx.Request) {}, 0},
		"another event":     {func(r *sipx.Request) { r.Header[0].Value = "dialog" }, 489},
		"an event with id":  {func(r *sipx.Request) { r.Header[0].Value = "presence;id=1" }, 489},
		"another Call-ID":   {func(r *sipx.Request) { r.CallID = "x" }, 481},
		"another tag of us": {func(r *sipx.Request) { r.To = r.To.WithTag("x") }, 481},
		"another tag":       {func(r *sipx.Request) { r.From = r.From.WithTag("x") }, 481},
		"no tag":            {func(r *sipx.Request) { r.From.Params = "" }, 481},
		"no state":          {func(r *sipx.Request) { r.Header[1].Value = "" }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			d := subscriber.NewDialog(ann, nil)
			req := notify(d.Subscribe(tom, ann), "a", 1)
			d.Take(req)
			test.change(req)
			state, res := d.Check(req, "presence")
			if test.status == 0 {
				require.Nil(t, res)
				require.Equal(t, subscriber.Active, state.State)
				return
			}
			require.Equal(t, test.status, res.Status)
			require.Zero(t, state)
		})
	}
}

// RFC 3261 §12.2.2.
func TestSequence(t *testing.T) {
	var s subscriber.Sequence
	require.NoError(t, s.Next(0))
	require.ErrorIs(t, s.Next(0), subscriber.ErrRepeated)
	require.NoError(t, s.Next(7))
	require.ErrorIs(t, s.Next(6), subscriber.ErrOld)
	require.ErrorIs(t, s.Next(7), subscriber.ErrRepeated)
}
