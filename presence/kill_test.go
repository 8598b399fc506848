package presence_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/rig"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
	"github.com/openblustar/blustar/sipx/stack"
)

// serveStored is the process that is killed: a server with its store in a file.
func serveStored(file, listen string, always bool) {
	fatal := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	entries := make([]directory.Entry, killUsers)
	for i := range entries {
		entries[i] = directory.Entry{ID: fmt.Sprint("u", i), SIP: []string{fmt.Sprintf("u%d@example.com", i)}}
	}
	dir, err := directory.NewMemory(entries)
	fatal(err)
	store, err := boltstore.Open(file)
	fatal(err)
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:" + listen}})
	fatal(err)
	server, err := presence.New(presence.Config{Sender: sip, Directory: dir, Store: told{store}, StoreAlways: always})
	fatal(err)
	fatal(server.Restore(context.Background()))
	fmt.Println("ready", sip.Listening()[0].Local)
	fatal(sip.Serve(context.Background(), server))
}

const killUsers = 8

// told is a store that says when it began to write each batch that it has written.
type told struct{ presence.Store }

func (s told) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	began := time.Now().UnixNano()
	revisions, err := s.Store.Apply(ctx, batch)
	if err == nil {
		fmt.Println("applied", began)
	}
	return revisions, err
}

// mob are clients of a server that is killed again and again, with what they know.
type mob struct {
	*testing.T
	always  bool
	file    string
	address string
	sip     *stack.Stack
	cmd     *exec.Cmd

	mu      sync.Mutex
	lost    []window // what of each kill may be lost
	down    bool
	kills   int
	began   time.Time         // when there was no process any more, before this one
	applied chan []time.Time  // when the batches that are in the store began, once the process has ended
	dialogs map[string]*heard // by Call-ID
	users   []*killUser
}

// window is a time: what was acknowledged in it may not be in the store.
type window struct{ from, to time.Time }

// heard is what a dialog has told.
type heard struct {
	tag   string // the server's
	seen  map[uint32][32]byte
	last  uint32
	floor uint32 // last, when the process began
	doc   *pidf.Presence
	body  string
	at    time.Time // when that was acknowledged
	taken time.Time // when the server had surely taken that: it has answered a request that was sent later
	ends  int
}

// killUser is a client with a subscription to its own address, one to the next user,
// and a publication.
type killUser struct {
	i          int
	own, watch *killDialog
	etag       string
	seq        uint32
	note       string    // as acknowledged
	sure       bool      // and nothing has been sent since that was not
	acked      time.Time // when
}

type killDialog struct {
	callID, to, tag string
	seq             uint32
	acked           time.Time
}

func (c *mob) failf(format string, args ...any) {
	c.Errorf("after %d kills: "+format, append([]any{c.kills}, args...)...)
}

func (c *mob) start() {
	c.Helper()
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), "PRESENCE_TEST_SERVE="+c.file, "PRESENCE_TEST_LISTEN="+c.address, fmt.Sprint("PRESENCE_TEST_ALWAYS=", c.always))
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	require.NoError(c, err)
	require.NoError(c, c.cmd.Start())
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	for ; err == nil && strings.HasPrefix(line, "applied"); line, err = lines.ReadString('\n') {
	}
	require.NoError(c, err, "the server does not start")
	c.applied = make(chan []time.Time, 1)
	go readApplied(lines, c.applied)
	c.mu.Lock()
	c.address = strings.Fields(line)[1]
	c.down = false
	for _, d := range c.dialogs {
		d.floor = d.last
	}
	c.mu.Unlock()
}

// readApplied reads what the store of a process says, to its end.
func readApplied(r io.Reader, all chan<- []time.Time) {
	var list []time.Time
	for {
		var at int64
		if _, err := fmt.Fscanf(r, "applied %d\n", &at); err != nil {
			all <- list
			return
		}
		list = append(list, time.Unix(0, at))
	}
}

func (c *mob) kill() {
	c.Helper()
	c.mu.Lock()
	c.down = true
	c.kills++
	c.mu.Unlock()
	require.NoError(c, c.cmd.Process.Kill())
	applied := <-c.applied // before Wait, which closes what it is read from
	_ = c.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	w := window{to: time.Now()}
	if n := len(applied); n > 1 {
		w.from = applied[n-2] // what came later may not have been in the last batch yet
	}
	c.lost = append(c.lost, w)
	c.began = w.to
}

// kept reports whether what was acknowledged then is in the store. c.mu is held.
func (c *mob) kept(at time.Time) bool {
	return !slices.ContainsFunc(c.lost, func(w window) bool { return !at.Before(w.from) && !at.After(w.to) })
}

// ServeSIP takes NOTIFYs.
func (c *mob) ServeSIP(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	_ = w.Respond(sipx.NewResponse(200))
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dialogs[req.CallID]
	if d == nil || d.tag != "" && d.tag != req.From.Tag() {
		return // of a SUBSCRIBE whose answer was lost
	}
	sum := sha256.Sum256(append([]byte(req.Header.Get("Subscription-State")[:6]), req.Body...))
	if before, seen := d.seen[req.CSeq]; seen {
		if before != sum {
			c.failf("CSeq %d is used twice in %s", req.CSeq, req.CallID)
		}
		return
	}
	if d.seen[req.CSeq] = sum; req.CSeq <= d.floor {
		c.failf("CSeq %d after %d of an earlier process in %s", req.CSeq, d.floor, req.CallID)
	}
	d.last = max(d.last, req.CSeq)
	if strings.HasPrefix(req.Header.Get("Subscription-State"), "terminated") {
		c.failf("%s is told %q", req.CallID, req.Header.Get("Subscription-State"))
		d.ends++
	}
	doc, err := pidf.Decode(req.Body)
	if err != nil {
		c.failf("%v", err)
		return
	}
	if d.doc != nil && pidf.Equal(d.doc, doc) && !d.taken.IsZero() && c.kept(d.taken) {
		c.failf("%s is told again what it knew", req.CallID)
	}
	d.doc, d.body, d.at, d.taken = doc, string(req.Body), time.Now(), time.Time{}
}

// do sends a request, and reports whether its outcome is sure: it met no kill, and what
// it goes by was in the store.
func (c *mob) do(text, body string, base time.Time) (res *sipx.Response, sure bool) {
	req := sipxtest.NewRequest(text + "\n" + body)
	req.Header = append(sipx.Header{{Name: "Contact", Value: req.Header.Get("Contact")}}, withoutRouting(req.Header)...)
	c.mu.Lock()
	before, clean, address := c.kills, !c.down, c.address
	sent := time.Now()
	c.mu.Unlock()
	req.URI, _ = sipx.ParseURI("sip:" + address)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := sipx.Do(ctx, c.sip, req)
	c.mu.Lock()
	defer c.mu.Unlock()
	sure = clean && !c.down && c.kills == before && (c.always || c.kept(base))
	if clean && c.kills == before {
		for _, d := range c.dialogs {
			if d.taken.IsZero() && d.at.Before(sent) && d.at.After(c.began) {
				d.taken = time.Now()
			}
		}
	}
	if err != nil {
		c.failf("%v: %s", err, strings.SplitN(text, "\n", 2)[0])
		return nil, false
	}
	return res, sure
}

func (c *mob) head(method string, u *killUser, to, callID string, seq uint32) string {
	return fmt.Sprintf("%s sip:server SIP/2.0\nVia: x\nFrom: <sip:u%d@example.com>;tag=f\nTo: %s\nCall-ID: %s\nCSeq: %d %s\n"+
		"Contact: %s\nEvent: presence\nUser-Agent: Aastra BluStar Client/3.0\n",
		method, u.i, to, callID, seq, method, strings.Replace(c.sip.Contact(sipx.Flow{Transport: "udp"}), "sip:", fmt.Sprintf("sip:u%d@", u.i), 1))
}

func (c *mob) subscribe(u *killUser, d *killDialog) {
	d.seq++
	to := "<" + d.to + ">"
	if d.tag != "" {
		to += ";tag=" + d.tag
	}
	res, sure := c.do(c.head("SUBSCRIBE", u, to, d.callID, d.seq)+"Expires: 300\n", "", d.acked)
	switch {
	case res == nil:
	case res.Status == 200:
		c.mu.Lock()
		d.tag, d.acked = res.ToTag, time.Now()
		c.dialogs[d.callID].tag = d.tag
		c.mu.Unlock()
	case res.Status == 503 && res.Header.Get("Retry-After") == "1": // it is starting
	case sure || d.tag != "" && res.Status == 481 && c.always:
		c.failf("a refresh of %s is answered %d %s", d.callID, res.Status, res.Reason)
	case res.Status == 481:
		c.mu.Lock()
		delete(c.dialogs, d.callID)
		*d = killDialog{callID: d.callID + "'", to: d.to}
		c.dialogs[d.callID] = &heard{seen: make(map[uint32][32]byte)}
		c.mu.Unlock()
	}
}

func (c *mob) publish(u *killUser, note string) {
	u.seq++
	text, body := c.head("PUBLISH", u, fmt.Sprintf("<sip:u%d@example.com>", u.i), fmt.Sprint("p", u.i), u.seq)+"Expires: 3600\n", ""
	if u.etag != "" {
		text += "SIP-If-Match: " + u.etag + "\n"
	}
	if note != "" {
		text += "Content-Type: application/pidf+xml\n"
		body = bluStarBody("busy", note)
		c.mu.Lock()
		u.sure = false
		c.mu.Unlock()
	}
	res, sure := c.do(text, body, u.acked)
	switch {
	case res == nil:
	case res.Status == 200:
		tag := res.Header.Get("SIP-ETag")
		if sure && u.etag != "" && tag != u.etag {
			c.failf("the entity-tag of u%d has changed", u.i)
		}
		c.mu.Lock()
		if u.etag = tag; note != "" {
			u.note, u.sure, u.acked = note, true, time.Now()
		}
		c.mu.Unlock()
	case res.Status == 503 && res.Header.Get("Retry-After") == "1":
	case sure:
		c.failf("a PUBLISH of u%d is answered %d %s", u.i, res.Status, res.Reason)
	}
}

// wrong says who of the watchers does not see what was acknowledged.
func (c *mob) wrong() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.users {
		of := c.users[(u.i+1)%killUsers]
		sure := of.sure && (c.always || c.kept(of.acked))
		if d := c.dialogs[u.watch.callID]; d.doc == nil || sure && !strings.Contains(d.body, ">"+of.note+"<") {
			list = append(list, fmt.Sprintf("u%d does not see %q of u%d", u.i, of.note, of.i))
		}
	}
	return list
}

// BSX-11: a server that is killed at random moments under load has after each start
// what it had acknowledged: dialogs, clients, publications with their entity-tags. No
// CSeq is used twice, nobody is told again what they knew, or that anybody has ended,
// and all see the newest status. PRESENCE_TEST_KILLS is how often; without sync
// "always" what was acknowledged in the last moments may be lost.
func TestKilledUnderLoad(t *testing.T) {
	kills := 6
	if testing.Short() {
		kills = 2
	}
	if n, err := strconv.Atoi(os.Getenv("PRESENCE_TEST_KILLS")); err == nil {
		kills = n
	}
	for _, always := range []bool{true, false} {
		t.Run(map[bool]string{true: "always", false: "50ms"}[always], func(t *testing.T) { killedUnderLoad(t, always, kills) })
	}
}

func killedUnderLoad(t *testing.T, always bool, kills int) {
	c := &mob{T: t, always: always, file: filepath.Join(t.TempDir(), "store.db"), address: rig.Address(t) + ":0", dialogs: make(map[string]*heard)}
	var err error
	c.sip, err = stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- c.sip.Serve(context.Background(), c) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.sip.Shutdown(ctx)
		<-served
	}()
	c.start()
	defer func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() }()
	for i := range killUsers {
		u := &killUser{i: i,
			own:   &killDialog{callID: fmt.Sprint("own", i), to: fmt.Sprintf("sip:u%d@example.com", i)},
			watch: &killDialog{callID: fmt.Sprint("watch", i), to: fmt.Sprintf("sip:u%d@example.com", (i+1)%killUsers)}}
		c.users = append(c.users, u)
		c.dialogs[u.own.callID], c.dialogs[u.watch.callID] = &heard{seen: make(map[uint32][32]byte)}, &heard{seen: make(map[uint32][32]byte)}
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	for _, u := range c.users {
		working.Go(func() {
			random := rand.New(rand.NewPCG(uint64(u.i), 1))
			c.subscribe(u, u.own)
			c.publish(u, "first")
			c.subscribe(u, u.watch)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				switch random.IntN(4) {
				case 0:
					c.subscribe(u, u.own)
				case 1:
					c.subscribe(u, u.watch)
				case 2:
					c.publish(u, fmt.Sprintf("note %d of u%d", n, u.i))
				case 3:
					c.publish(u, "")
				}
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // load is not a wait
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range kills {
		time.Sleep(time.Duration(200+random.IntN(800)) * time.Millisecond) // any moment
		c.kill()
		c.start()
		if t.Failed() {
			break
		}
	}
	time.Sleep(time.Second)
	close(stop)
	working.Wait()
	for _, last := range []string{"", "last"} {
		for _, u := range c.users {
			c.publish(u, last)
		}
		if !t.Failed() && !assert.Eventually(t, func() bool { return len(c.wrong()) == 0 }, time.Minute, 20*time.Millisecond) {
			t.Error(c.wrong())
		}
	}
}
