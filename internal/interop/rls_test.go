package interop_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// tables are where Debian has the empty tables of Kamailio's text database.
const tables = "/usr/share/kamailio/dbtext/kamailio"

// lists starts a Kamailio that serves a list of members to ann, with our server behind it.
func lists(t *testing.T, s *server, list string, members ...string) *kamailio {
	t.Helper()
	findKamailio(t)
	if _, err := os.Stat(tables); err != nil {
		missing(t, "no tables of Kamailio in "+tables+" (Debian: kamailio)")
	}
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS(tables)))
	var entries strings.Builder
	for _, m := range members {
		fmt.Fprintf(&entries, `<rl:entry uri="sip:%s@%s"/>`, m, domain)
	}
	document := fmt.Sprintf(`<?xml version="1.0"?><rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">`+
		`<service uri="%s"><list name="all">%s</list><packages><package>presence</package></packages></service></rls-services>`, list, &entries)
	f, err := os.OpenFile(filepath.Join(folder, "xcap"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = fmt.Fprintf(f, "1:ann:%s:%s:8:1:0:index:0\n", domain, strings.ReplaceAll(document, ":", `\:`))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return startKamailio(t, "rls.cfg", `TABLES="text://`+folder+`"`, `SERVER="sip:`+s.listening("udp")+`"`)
}

// peer is a telephone that is made of nothing but the stack.
type peer struct {
	t        *testing.T
	sip      *stack.Stack
	next     string // where its requests go
	cseq     uint32
	notifies chan string
}

func newPeer(t *testing.T, next string) *peer {
	t.Helper()
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	require.NoError(t, err)
	p := &peer{t: t, sip: sip, next: next, notifies: make(chan string, 100)}
	served := make(chan error, 1)
	go func() {
		served <- sip.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
			_ = w.Respond(sipx.NewResponse(200))
			p.notifies <- req.Header.Get("Subscription-State") + "\n" + string(req.Body)
		}))
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, sip.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	return p
}

// does sends the next request from ann's or another's address, which must be answered 2xx.
func (p *peer) does(method, from, to string, fields ...sipx.Field) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	p.cseq++
	uri, err := sipx.ParseURI(to)
	require.NoError(p.t, err)
	watcher, err := sipx.ParseAddress("<" + from + ">;tag=1")
	require.NoError(p.t, err)
	me := p.sip.Listening()[0]
	req := &sipx.Request{
		Method: method, URI: uri, From: watcher, To: sipx.Address{URI: uri}, CallID: "1", CSeq: p.cseq,
		Route:  []string{"<sip:" + p.next + ";lr>"},
		Header: append(sipx.Header{{Name: "Contact", Value: "<sip:telephone@" + me.Local.String() + ">"}}, fields...),
	}
	res, err := sipx.Do(ctx, p.sip, req)
	require.NoError(p.t, err)
	require.Equal(p.t, 2, res.Status/100, "%s: %d", method, res.Status)
}

// hears waits for a NOTIFY.
func (p *peer) hears(expression string) {
	p.t.Helper()
	var all []string
	for deadline := time.After(patience); ; {
		select {
		case n := <-p.notifies:
			if regexp.MustCompile(expression).MatchString(n) {
				return
			}
			all = append(all, n)
		case <-deadline:
			require.FailNow(p.t, "no NOTIFY matches "+expression, strings.Join(all, "\n\n"))
		}
	}
}

// A Kamailio that serves lists subscribes here to each member, and passes on what it is told:
// RFC 4662 §4, RFC 3856; BSP-2.1-5, BSP-2.5-1.
func TestResourceListServer(t *testing.T) {
	s := serve(t, open)
	const list = "sip:friends@" + domain
	rls := lists(t, s, list, "tom", "bill", "nobody")
	ann := newPeer(t, rls.address)
	ann.does("SUBSCRIBE", "sip:ann@"+domain, list, sipx.Field{Name: "Event", Value: "presence"}, sipx.Field{Name: "Supported", Value: "eventlist"},
		sipx.Field{Name: "Expires", Value: "600"}, sipx.Field{Name: "Accept", Value: "application/pidf+xml, application/rlmi+xml, multipart/related"})
	s.eventually("it subscribes to each member", func() bool { return len(s.list("subscriptions")) == 3 })
	ann.hears(`(?s)^active.*sip:tom@example.com`)
	s.line(users["tom"], "busy")
	ann.hears(`(?s)^active.*entity="sip:tom@example.com".*In a call`)
	s.line(users["tom"], "idle")
	s.line(users["bill"], "busy")
	ann.hears(`(?s)^active.*entity="sip:bill@example.com".*In a call`)

	// It takes the last NOTIFYs too. (It does not end its subscriptions when its watcher ends
	// the list; so they expire.)
	_ = s.stop()
	rls.prints(`(?s)(takes a NOTIFY: 1 terminated.*){3}`)
}

// What registers at a Kamailio is published here by it (RFC 3903): BSX-6, BSP-2.4-2.
func TestPublishesForWhatRegisters(t *testing.T) {
	s := serve(t, map[string]any{"auth": open["auth"], "limits": map[string]any{"min_expires": 1}})
	registrar := lists(t, s, "sip:friends@"+domain)
	bill := newPeer(t, registrar.address)
	me := "sip:bill@" + domain
	bill.does("REGISTER", me, me, sipx.Field{Name: "Expires", Value: "600"})
	s.eventually("he is available", func() bool { return s.status("bill") == "available" })
	require.Equal(t, "Standard", s.publication("bill").Dialect)
	bill.does("REGISTER", me, me, sipx.Field{Name: "Expires", Value: "0"})
	s.eventually("he is gone", func() bool { return s.status("bill") == "signed out" })
}
