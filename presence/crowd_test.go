package presence_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// crowd is a server on a real stack and socket, and a crowd of watchers behind
// another socket, which loses packets both ways.
type crowd struct {
	server *presence.Server
	stack  *stack.Stack
	served chan error
	to     netip.AddrPort
	conn   *net.UDPConn
	loss   atomic.Int32 // of 100 datagrams
	stop   chan struct{}
	work   sync.WaitGroup
	heard  func(w *member, value string) // a NOTIFY, with mu held

	mu      sync.Mutex
	serial  int
	watched map[string]*member // by Call-ID
	calls   map[string]*crowdCall
	booted  bool
	refused int // requests of living watchers that were not answered 200
}

// member is one watcher, fields guarded by crowd.mu.
type member struct {
	user   int
	callID string
	toTag  string
	seq    uint32
	dead   time.Time // since when it answers nothing; 481 once crowd.booted is set
	asking bool      // waits for an answer
	left   bool      // has sent its last SUBSCRIBE
	cseq   uint32    // of the newest NOTIFY
	value  string    // what that showed
}

func (w *member) isDead() bool { return !w.dead.IsZero() }

type crowdCall struct {
	data []byte
	sent time.Time
	done func(*sipx.Response)
}

func newCrowd(t testing.TB, users int) *crowd {
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}, MaxWaiting: 20_000})
	require.NoError(t, err)
	entries := make([]directory.Entry, users)
	for i := range entries {
		n := strconv.Itoa(i)
		entries[i] = directory.Entry{ID: "u" + n, SIP: []string{"u" + n + "@example.com"}, Lines: []string{"2" + n}}
	}
	dir, err := directory.NewMemory(entries)
	require.NoError(t, err)
	server, err := presence.New(presence.Config{Sender: sip, Directory: dir, Domains: []string{"example.com"}})
	require.NoError(t, err)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	_ = conn.SetReadBuffer(4 << 20)
	f := &crowd{server: server, stack: sip, served: make(chan error, 1), to: sip.Listening()[0].Local, conn: conn,
		stop: make(chan struct{}), watched: map[string]*member{}, calls: map[string]*crowdCall{}, heard: func(*member, string) {}}
	go func() { f.served <- sip.Serve(context.Background(), server) }()
	f.work.Go(f.read)
	f.work.Go(f.resend)
	return f
}

func (f *crowd) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, f.server.Shutdown(ctx))
	require.NoError(t, f.stack.Shutdown(ctx))
	require.NoError(t, <-f.served)
	close(f.stop)
	f.conn.Close()
	f.work.Wait()
}

func (f *crowd) lost() bool { return rand.Int32N(100) < f.loss.Load() }

func (f *crowd) write(data []byte) {
	if !f.lost() {
		_, _ = f.conn.WriteToUDPAddrPort(data, f.to)
	}
}

func (f *crowd) read() {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := f.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if f.lost() {
			continue
		}
		if strings.HasPrefix(string(buf[:n]), "SIP/") {
			f.answered(buf[:n])
		} else {
			f.notified(buf[:n])
		}
	}
}

func (f *crowd) answered(data []byte) {
	res, err := sipx.ParseResponse(data)
	if err != nil {
		return
	}
	via, err := res.Header.TopVia()
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if call := f.calls[via.Branch()]; call != nil {
		delete(f.calls, via.Branch())
		call.done(res)
	}
}

func (f *crowd) notified(data []byte) {
	req, err := sipx.ParseRequest(data)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.watched[req.CallID]
	last := strings.HasPrefix(req.Header.Get("Subscription-State"), "terminated")
	status := 200
	switch {
	case w == nil && !last, w != nil && w.isDead() && f.booted:
		status = 481
	case w != nil && w.isDead():
		return
	case w != nil && req.CSeq > w.cseq:
		w.cseq = req.CSeq
		if last {
			delete(f.watched, req.CallID)
		} else {
			w.value = strings.Clone(forwardIn(req.Body)) // not the whole body
			f.heard(w, w.value)
		}
	}
	f.write(sipx.NewResponse(status).AppendTo(nil, req))
}

// forwardIn reads the destination that the line is forwarded to, quickly.
func forwardIn(body []byte) string {
	_, rest, _ := strings.Cut(string(body), "immediate\">")
	value, _, _ := strings.Cut(rest, "<")
	return strings.TrimSpace(value)
}

// resend sends requests again that were not answered.
func (f *crowd) resend() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-tick.C:
			f.mu.Lock()
			for _, call := range f.calls {
				if now.Sub(call.sent) > time.Second {
					call.sent = now
					f.write(call.data)
				}
			}
			f.mu.Unlock()
		}
	}
}

// subscribe opens or, where w has a dialog, refreshes or ends a subscription.
// f.mu is held.
func (f *crowd) subscribe(w *member, expires int) {
	if w.callID == "" {
		f.serial++
		w.callID = "f" + strconv.Itoa(f.serial)
		f.watched[w.callID] = w
	}
	w.asking = true
	w.seq++
	tag := ""
	if w.toTag != "" {
		tag = ";tag=" + w.toTag
	}
	agent := "Phone/1.0"
	if w.user%2 == 0 {
		agent = "Aastra BluStar Client/3.0.1.0"
	}
	local := f.conn.LocalAddr().String()
	branch := fmt.Sprintf("z9hG4bK%s-%d", w.callID, w.seq)
	data := fmt.Appendf(nil, "SUBSCRIBE sip:u%d@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@example.org>;tag=w\r\nTo: <sip:u%d@example.com>%s\r\nCall-ID: %s\r\nCSeq: %d SUBSCRIBE\r\n"+
		"Contact: <sip:%s@%s>\r\nEvent: presence\r\nExpires: %d\r\nUser-Agent: %s\r\nContent-Length: 0\r\n\r\n",
		w.user, local, branch, w.callID, w.user, tag, w.callID, w.seq, w.callID, local, expires, agent)
	f.calls[branch] = &crowdCall{data: data, sent: time.Now(), done: func(res *sipx.Response) {
		w.asking = false
		if w.toTag = strings.Clone(res.ToTag); res.Status != 200 {
			f.refused++
			delete(f.watched, w.callID)
		}
	}}
	f.write(data)
}

// settled reports whether every living watcher holds the newest state and nothing
// is under way.
func (f *crowd) settled(newest []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watched {
		if !w.isDead() && !w.left && (w.cseq == 0 || w.value != newest[w.user]) {
			return false
		}
	}
	return len(f.calls) == 0
}
