package dialoginfo_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pbxAddr     = "192.0.2.1:5060"
	monitorAddr = "192.0.2.7:5060"
)

// A pbx answers SUBSCRIBEs as a PBX with BLF does, or as a script says.
type pbx struct {
	t       *testing.T
	network *sipxtest.Network
	stack   *sipxtest.Stack
	own     *sipxtest.Stack // the monitor's

	mu        sync.Mutex
	requests  []arrival
	script    func(*sipx.Request) *sipx.Response // nil or a nil response: the default
	fields    sipx.Header                        // added to a 2xx and to NOTIFYs
	expires   int                                // granted at most
	silent    bool                               // no NOTIFY of itself
	early     bool                               // NOTIFY goes before the 200
	dialogs   map[string]*subscriber             // by Call-ID
	farewells []int                              // the answers to NOTIFYs after a SUBSCRIBE with Expires 0
	state     map[string]string                  // documents by device; "" is a NOTIFY without
}

type arrival struct {
	*sipx.Request
	at time.Time
}

// subscriber is the PBX's end of a dialog.
type subscriber struct {
	req     *sipx.Request // the last SUBSCRIBE
	tag     string
	seq     uint32
	version int
}

func (p *pbx) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, arrival{req, time.Now()})
	script := p.script
	p.mu.Unlock()
	if script != nil {
		if res := script(req); res != nil {
			_ = w.Respond(res)
			return
		}
	}
	p.mu.Lock()
	d := p.dialogs[req.CallID]
	if d == nil && req.To.Tag() != "" {
		p.mu.Unlock()
		_ = w.Respond(sipx.NewResponse(481))
		return
	}
	if d == nil {
		d = &subscriber{tag: "p" + strconv.Itoa(len(p.requests))}
		p.dialogs[req.CallID] = d
	}
	d.req = req
	asked, _ := sipx.Seconds(req.Header.Get("Expires"))
	granted := min(asked, p.expires)
	res := sipx.NewResponse(200, append(sipx.Header{
		{Name: "Expires", Value: strconv.Itoa(granted)},
		{Name: "Contact", Value: "<sip:blf@" + pbxAddr + ">"},
	}, p.fields...)...)
	res.ToTag = d.tag
	silent, early, body := p.silent, p.early, p.document(d)
	p.mu.Unlock()

	if !early {
		_ = w.Respond(res)
	}
	switch {
	case asked == 0:
		last := p.end(req.CallID, "terminated;reason=timeout")
		p.set(func() { p.farewells = append(p.farewells, last) })
	case !silent:
		p.notify(req.CallID, "active;expires="+strconv.Itoa(granted), body)
	}
	if early {
		_ = w.Respond(res) // now that the NOTIFY was answered
	}
}

// document is the full state for a subscriber, with its next version.
func (p *pbx) document(d *subscriber) string {
	body := p.state[d.req.To.URI.User]
	if strings.Contains(body, "%d") {
		body = fmt.Sprintf(body, d.version)
	}
	d.version++
	return body
}

// tell sends a document to a device's subscriber: its next one, with the version
// where it has a %d.
func (p *pbx) tell(device, body string) int {
	p.mu.Lock()
	d := p.dialogs[p.callID(device)]
	if strings.Contains(body, "%d") {
		body = fmt.Sprintf(body, d.version)
	}
	d.version++
	p.mu.Unlock()
	return p.notify(d.req.CallID, "active;expires=200", body)
}

// callID finds the dialog of a device. p.mu is held.
func (p *pbx) callID(device string) string {
	for id, d := range p.dialogs {
		if d.req.To.URI.User == device {
			return id
		}
	}
	p.t.Errorf("no subscription to %s", device)
	return ""
}

// build makes the next NOTIFY of a dialog.
func (p *pbx) build(callID, state, body string) *sipx.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dialogs[callID]
	d.seq++
	contact, err := sipx.ParseAddress(d.req.Header.Get("Contact"))
	if err != nil {
		p.t.Error(err)
	}
	req := &sipx.Request{
		Method: "NOTIFY", URI: contact.URI,
		From: d.req.To.WithTag(d.tag), To: d.req.From, CallID: callID, CSeq: d.seq,
		Flow: d.req.Flow,
		Header: append(sipx.Header{
			{Name: "Event", Value: "dialog"},
			{Name: "Subscription-State", Value: state},
			{Name: "Contact", Value: "<sip:blf@" + pbxAddr + ">"},
		}, p.fields...),
	}
	if body != "" {
		req.Header.Add("Content-Type", dialoginfo.MediaType)
		req.Body = []byte(body)
	}
	return req
}

// notify sends a NOTIFY and returns how it was answered, 0 where it was not.
func (p *pbx) notify(callID, state, body string) int { return p.send(p.build(callID, state, body)) }

func (p *pbx) send(req *sipx.Request) int {
	res, err := sipx.Do(context.Background(), p.stack, req)
	if err != nil {
		return 0
	}
	return res.Status
}

// end ends a dialog with a last NOTIFY.
func (p *pbx) end(callID, state string) int {
	status := p.notify(callID, state, "")
	p.mu.Lock()
	delete(p.dialogs, callID)
	p.mu.Unlock()
	return status
}

// endOf ends the dialog of a device.
func (p *pbx) endOf(device, state string) int {
	p.mu.Lock()
	id := p.callID(device)
	p.mu.Unlock()
	return p.end(id, state)
}

// restart makes it forget all subscriptions.
func (p *pbx) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.dialogs)
}

func (p *pbx) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// play sets the script.
func (p *pbx) play(script func(*sipx.Request) *sipx.Response) { p.set(func() { p.script = script }) }

// seen returns the requests so far and forgets them.
func (p *pbx) seen() []arrival {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.requests
	p.requests = nil
	return list
}

// A lamp is what shows a line state.
type lamp struct {
	mu     sync.Mutex
	states []presence.LineState
	ended  bool
	err    error
	stop   context.CancelFunc
}

func (l *lamp) update(s presence.LineState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, s)
}

// shown returns the states since the last call, without repetitions.
func (l *lamp) shown() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, s := range l.states {
		if text := string(s.State); len(list) == 0 || list[len(list)-1] != text {
			list = append(list, text)
		}
	}
	l.states = nil
	return strings.Join(list, " ")
}

// last returns the last state.
func (l *lamp) last(t *testing.T) presence.LineState {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotEmpty(t, l.states)
	return l.states[len(l.states)-1]
}

// result returns the outcome of MonitorLine.
func (l *lamp) result(t *testing.T) error {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.True(t, l.ended, "MonitorLine has not returned")
	return l.err
}

// running fails where MonitorLine has returned.
func (l *lamp) running(t *testing.T) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.False(t, l.ended, "MonitorLine has returned: %v", l.err)
}

// rig is a monitor with its PBX.
type rig struct {
	*pbx
	t       *testing.T
	monitor *dialoginfo.Monitor
	lamps   []*lamp
	group   sync.WaitGroup
}

// watch starts to monitor a device.
func (r *rig) watch(device string) *lamp {
	ctx, stop := context.WithCancel(r.t.Context())
	l := &lamp{stop: stop}
	r.lamps = append(r.lamps, l)
	r.group.Go(func() {
		err := r.monitor.MonitorLine(ctx, device, l.update)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended, l.err = true, err
	})
	synctest.Wait()
	return l
}

// setup is what a test wants different.
type setup struct {
	config  func(*dialoginfo.Config)
	network sipxtest.Config
	handler func(*dialoginfo.Monitor) sipx.Handler
}

// run runs f in a bubble, which fails where a goroutine is left.
func run(t *testing.T, s setup, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := sipxtest.NewNetwork(s.network)
		p := &pbx{
			t: t, network: network, stack: network.NewStack(pbxAddr), own: network.NewStack(monitorAddr),
			dialogs: make(map[string]*subscriber), state: make(map[string]string), expires: 3600,
		}
		cfg := dialoginfo.Config{
			Sender: p.own,
			PBX:    sipx.URI{Scheme: "sip", Host: "192.0.2.1", Port: 5060},
			From:   sipx.URI{Scheme: "sip", User: "presence", Host: "example.com"},
		}
		if s.config != nil {
			s.config(&cfg)
		}
		monitor, err := dialoginfo.New(cfg)
		require.NoError(t, err)
		var handler sipx.Handler = monitor
		if s.handler != nil {
			handler = s.handler(monitor)
		}
		go func() { _ = p.stack.Serve(t.Context(), p) }()
		go func() { _ = p.own.Serve(t.Context(), handler) }()
		synctest.Wait()
		r := &rig{pbx: p, t: t, monitor: monitor}
		defer func() {
			for _, l := range r.lamps {
				l.stop()
			}
			r.group.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // of requests that nobody answers
			defer cancel()
			require.NoError(t, p.own.Shutdown(ctx))
			require.NoError(t, p.stack.Shutdown(ctx))
			time.Sleep(5 * time.Second) // the bubble's; for a farewell that gets no last NOTIFY
			synctest.Wait()
			require.Zero(t, dialoginfo.Dialogs(monitor))
		}()
		f(t, r)
	})
}

// doc is a document with dialogs such as "early recipient"; %d is its version.
func doc(state string, dialogs ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0"?>`+"\n"+
		`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="%%d" state="%s" entity="sip:200@example.com">`, state)
	for i, d := range dialogs {
		id := strconv.Itoa(i)
		if before, after, ok := strings.Cut(d, ":"); ok {
			id, d = before, after
		}
		s, direction, _ := strings.Cut(d, " ")
		if direction != "" {
			direction = ` direction="` + direction + `"`
		}
		fmt.Fprintf(&b, "\n"+`  <dialog id="%s"%s><state>%s</state></dialog>`, id, direction, s)
	}
	b.WriteString("\n</dialog-info>\n")
	return b.String()
}

// full and partial are documents of the two kinds.
func full(dialogs ...string) string    { return doc("full", dialogs...) }
func partial(dialogs ...string) string { return doc("partial", dialogs...) }

// status answers every request so.
func status(code int, fields ...sipx.Field) func(*sipx.Request) *sipx.Response {
	return func(*sipx.Request) *sipx.Response { return sipx.NewResponse(code, fields...) }
}

func field(name, value string) sipx.Field { return sipx.Field{Name: name, Value: value} }
