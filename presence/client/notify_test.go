package client_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// A NOTIFY may be faster than the 200 to its SUBSCRIBE (RFC 6665 §4.1.2.4). In the
// dialog the route is that of its route set, here none (BSP-4-3).
func TestNotifyBeforeTheAnswer(t *testing.T) {
	sbc := []string{"<sip:192.0.2.1:5060;lr>"}
	run(t, func(cfg *client.Config) { cfg.Route = sbc }, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		s.early = true
		require.NoError(t, c.SignIn(t.Context()))
		require.Equal(t, []int{200}, s.told())
		require.Len(t, in.lines(), 1)
		require.Equal(t, sbc, routes(s.seen("")[0]))
		time.Sleep(250 * time.Second)
		sent := s.seen("")
		require.Len(t, sent, 1)
		require.NotEmpty(t, sent[0].To.Tag())
		require.Empty(t, routes(sent[0]))
		require.NoError(t, c.SignOut(t.Context()))
	})
}

// An older NOTIFY never takes the place of a newer one; a list's may overtake
// each other where they are about different entities (BSX-3, BSP-4-4).
func TestOrder(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann, "tel:200"))
		own, list := s.open()
		in.take()
		s.told()
		notes := func() (list []string) {
			for _, n := range in.take() {
				list = append(list, n.Summary().Note)
			}
			return list
		}

		s.notifyAs(own, 20, "active", busy(tom, "new"))
		s.notifyAs(own, 19, "active", busy(tom, "old"))
		s.notifyAs(own, 20, "active", busy(tom, "again"))
		s.notifyAs(own, 21, "active", busy(tom, "newest"))
		require.Equal(t, []string{"new", "newest"}, notes())
		require.Equal(t, []int{200, 500, 200, 200}, s.told())

		s.notifyAs(list, 20, "active", busy(ann, "ann"))
		s.notifyAs(list, 19, "active", busy("tel:200", "overtaken"))
		s.notifyAs(list, 18, "active", busy("tel:2-0-0", "old"))
		s.notifyAs(list, 19, "active", busy("sip:ANN@example.com:5060", "old"))
		require.Equal(t, []string{"ann", "overtaken"}, notes())
		require.Equal(t, []int{200, 200, 500, 500}, s.told())
	})
}

func TestListTellsOfABoundedNumberOfEntities(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.Watch(t.Context(), ann))
		_, list := s.open()
		in.take()
		for i := range 100 {
			s.notify(list, "active", busy("tel:1"+strings.Repeat("0", i), "stranger"))
		}
		require.Len(t, in.lines(), 16)
		s.notify(list, "active", busy(ann, "known"))
		require.Len(t, in.lines(), 1)
	})
}

// What is no NOTIFY of ours, or none that can be read, is refused, and changes
// nothing (BSP-4-5 from the other side).
func TestHostileNotify(t *testing.T) {
	good := func() *sipx.Request {
		return sipxtest.NewRequest(`
NOTIFY sip:tom@192.0.2.7:5060 SIP/2.0
From: <sip:tom@example.com>;tag=x
To: <sip:tom@example.com>;tag=y
Call-ID: z
CSeq: 100 NOTIFY
Event: presence
Subscription-State: active;expires=300
Content-Type: application/pidf+xml

` + busy(tom, "In a call"))
	}
	set := func(req *sipx.Request, name, value string) {
		for i := range req.Header {
			if req.Header[i].Name == name {
				req.Header[i].Value = value
			}
		}
	}
	tests := []struct {
		name   string
		change func(*sipx.Request)
		want   int
		header string
	}{
		{name: "as it should be", change: func(*sipx.Request) {}, want: 200},
		{name: "another Call-ID", change: func(r *sipx.Request) { r.CallID = "other" }, want: 481},
		{name: "another event", change: func(r *sipx.Request) { set(r, "Event", "dialog") }, want: 489, header: "Allow-Events"},
		{name: "an old CSeq", change: func(r *sipx.Request) { r.CSeq = 0 }, want: 500},
		{name: "a body of another type", change: func(r *sipx.Request) { set(r, "Content-Type", "text/plain") }, want: 415, header: "Accept"},
		{name: "a list that was not asked for", change: func(r *sipx.Request) { set(r, "Content-Type", "multipart/related;boundary=x") }, want: 415},
		{name: "no document", change: func(r *sipx.Request) { r.Body = []byte("<presence") }, want: 400},
		{name: "a document type", change: func(r *sipx.Request) {
			r.Body = append([]byte(`<!DOCTYPE x [<!ENTITY a "b">]>`), r.Body...)
		}, want: 400},
		{name: "another method", change: func(r *sipx.Request) { r.Method = "OPTIONS" }, want: 405, header: "Allow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
				require.NoError(t, c.SignIn(t.Context()))
				in.take()
				own, _ := s.open()
				req := good()
				s.mu.Lock()
				d := s.dialogs[own]
				s.mu.Unlock()
				req.CallID = own
				req.From, req.To = d.req.To.WithTag(d.tag), d.req.From
				tt.change(req)
				var w sipxtest.Recorder
				c.ServeSIP(t.Context(), &w, req)
				require.Equal(t, tt.want, w.Response().Status)
				require.Equal(t, 1, w.Calls())
				if tt.header != "" {
					require.NotEmpty(t, w.Response().Header.Get(tt.header))
				}
				if tt.want == 200 {
					require.Len(t, in.lines(), 1)
				} else {
					require.Empty(t, in.lines())
				}
			})
		})
	}
}

// The end of a subscription counts even where its last body is of no use.
func TestTerminatedWithABadBody(t *testing.T) {
	run(t, nil, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		require.NoError(t, c.SignIn(t.Context()))
		own, _ := s.open()
		in.take()
		s.told()
		s.notify(own, "terminated;reason=rejected", "<presence")
		require.Equal(t, []int{400}, s.told())
		told := in.take()
		require.Len(t, told, 1)
		require.Equal(t, "rejected", told[0].Reason)
		require.Nil(t, told[0].Presence)
	})
}

// Many clients of one AMCC share a stack and a Contact (BSP-2.11-2).
func TestMux(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stack := start(t, sipxtest.Config{})
		defer shutdown(t, s, stack)
		mux := new(client.Mux)
		go func() { _ = stack.Serve(t.Context(), mux) }()
		users := []string{tom, ann, "tel:200"}
		boxes := make([]inbox, len(users))
		for i, user := range users {
			cfg := config(stack)
			cfg.Mux, cfg.Address, cfg.ContactUser, cfg.Notify = mux, user, "fmc", boxes[i].put
			c, err := client.New(cfg)
			require.NoError(t, err)
			defer c.Abandon()
			require.NoError(t, c.SignIn(t.Context()))
			synctest.Wait()
			require.NoError(t, c.Watch(t.Context(), "sip:joe@example.com"))
		}
		for _, r := range s.seen("") {
			require.Equal(t, "<sip:fmc@192.0.2.7:5060>", r.Header.Get("Contact"))
		}
		for i, user := range users {
			got := boxes[i].take()
			require.Len(t, got, 2)
			require.Equal(t, user, got[0].Entity)
			require.True(t, got[0].Own)
			require.False(t, got[1].Own)
		}
	})
}

// RFC 4662: a list in the standard dialect tells of all its members at once.
func TestStandardList(t *testing.T) {
	change := func(cfg *client.Config) { cfg.Standard = true }
	run(t, change, func(t *testing.T, s *server, c *client.Client, in *inbox) {
		s.silent = true
		require.NoError(t, c.Watch(t.Context(), ann, "tel:200"))
		sent := s.seen("")[1]
		require.True(t, sent.Header.HasToken("Supported", "eventlist"))
		require.True(t, sent.Header.HasToken("Accept", "multipart/related"))
		require.True(t, sent.Header.HasToken("Accept", "application/rlmi+xml"))
		require.Equal(t, "sip:192.0.2.1:5060", sent.URI.String())

		_, list := s.open()
		message := related.Message{Start: "list", List: &rlmi.List{URI: "sip:rls@example.com", FullState: true}}
		for i, entity := range []string{ann, "tel:200", "sip:joe@example.com"} {
			resource := rlmi.Resource{URI: entity, Instances: []rlmi.Instance{{ID: "1", State: "active", CID: entity}}}
			if i == 2 {
				resource.Instances[0].CID = "missing"
			}
			message.List.Resources = append(message.List.Resources, resource, resource)
			message.Parts = append(message.Parts, related.Part{ID: entity, Type: pidf.TypePIDF, Body: []byte(busy(entity, "In a call"))})
		}
		body, contentType := message.Append(nil)
		notify := func(seq uint32, contentType string, body []byte) int {
			s.mu.Lock()
			d := s.dialogs[list]
			s.mu.Unlock()
			req := sipxtest.NewRequest(`
NOTIFY sip:tom@192.0.2.7:5060 SIP/2.0
From: <sip:rls@example.com>;tag=` + d.tag + `
To: ` + d.req.From.String() + `
Call-ID: ` + list + `
CSeq: 1 NOTIFY
Event: presence
Subscription-State: active;expires=300
Content-Type: ` + contentType)
			req.CSeq, req.Body = seq, body
			var w sipxtest.Recorder
			c.ServeSIP(t.Context(), &w, req)
			return w.Response().Status
		}
		require.Equal(t, 200, notify(1, contentType, body))
		var entities []string
		for _, n := range in.take() {
			entities = append(entities, n.Entity)
		}
		require.Equal(t, []string{ann, ann, "tel:200"}, entities, "no more than there are parts")
		require.Equal(t, 500, notify(0, contentType, body))
		require.Equal(t, 400, notify(2, "multipart/related;boundary=x", body))
		require.Equal(t, 400, notify(3, contentType, bytes.ReplaceAll(body, []byte("</presence>"), nil)))
		require.Empty(t, in.lines())

		// Another list is another dialog (RFC 5367 §5.1).
		s.seen("")
		s.mu.Lock()
		s.silent = false
		s.mu.Unlock()
		require.NoError(t, c.Watch(t.Context(), ann))
		changed := s.seen("")
		require.Len(t, changed, 2)
		require.Equal(t, "0", changed[0].Header.Get("Expires"))
		require.Equal(t, list, changed[0].CallID)
		require.NotEqual(t, list, changed[1].CallID)
	})
}
