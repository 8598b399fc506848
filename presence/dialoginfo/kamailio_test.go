package dialoginfo_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	loopback "github.com/openblustar/blustar/internal/rig"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// A kamailio is Kamailio's presence server, as a PBX whose telephones PUBLISH
// their dialogs. It runs from testdata/kamailio.cfg at an address of its own.
type kamailio struct {
	t       *testing.T
	program string
	host    string
	defines []string
	stack   *stack.Stack // the telephones' and the monitor's
	monitor *dialoginfo.Monitor

	cmd *exec.Cmd
	log bytes.Buffer
}

// newKamailio starts one, with a monitor beside it.
func newKamailio(t *testing.T, change func(*dialoginfo.Config), defines ...string) *kamailio {
	k := &kamailio{t: t, program: findKamailio(t), host: loopback.Address(t), defines: defines}
	var err error
	k.stack, err = stack.Listen(stack.Config{
		Listen:             []string{"udp:127.0.0.1:0"},
		TransactionTimeout: 2 * time.Second, // a PBX that is down is to be noticed soon
	})
	require.NoError(t, err)
	cfg := dialoginfo.Config{
		Sender:  k.stack,
		PBX:     sipx.URI{Scheme: "sip", Host: k.host, Port: 5060},
		From:    sipx.URI{Scheme: "sip", User: "presence", Host: "127.0.0.1"},
		Expires: 4 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	k.monitor, err = dialoginfo.New(cfg)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- k.stack.Serve(context.Background(), k.monitor) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, k.stack.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	k.start()
	t.Cleanup(k.stop)
	return k
}

// findKamailio skips the test where Kamailio is not installed, or fails it where
// it is required.
func findKamailio(t *testing.T) string {
	modules, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/presence_dialoginfo.so")
	_, noTimeout := exec.LookPath("timeout")
	for _, name := range []string{"kamailio", "/usr/sbin/kamailio"} {
		if path, err := exec.LookPath(name); err == nil && noTimeout == nil && len(modules) > 0 {
			return path
		}
	}
	const missing = "Kamailio or timeout is not installed (Debian: kamailio, kamailio-presence-modules, coreutils)"
	if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing + "; BLUSTAR_INTEGRATION=required makes this an error")
	return ""
}

// start starts Kamailio and waits until it answers. Should the test be killed,
// Kamailio ends by itself after five minutes.
func (k *kamailio) start() {
	dir := k.t.TempDir()
	args := []string{"300", k.program, "-f", "testdata/kamailio.cfg", "-P", dir + "/pid", "-Y", dir,
		"-l", "udp:" + k.host + ":5060", "-m", "64", "-M", "8", "-DD", "-E"}
	for _, d := range k.defines {
		args = append(args, "-A", d)
	}
	k.cmd = exec.Command("timeout", args...)
	k.cmd.Stdout, k.cmd.Stderr = &k.log, &k.log
	require.NoError(k.t, k.cmd.Start())
	require.Eventually(k.t, func() bool {
		res, err := k.do("OPTIONS", "ping", nil)
		return err == nil && res.Status == 200
	}, time.Minute, 50*time.Millisecond, "Kamailio does not answer")
}

// stop ends it, and with it all that it knew.
func (k *kamailio) stop() {
	require.NoError(k.t, k.cmd.Process.Signal(syscall.SIGTERM)) // which timeout passes on
	_ = k.cmd.Wait()
	if k.t.Failed() {
		k.t.Logf("Kamailio's log:\n%s", k.log.String())
	}
}

// do sends a request about a device.
func (k *kamailio) do(method, device string, body []byte, fields ...sipx.Field) (*sipx.Response, error) {
	uri := sipx.URI{Scheme: "sip", User: device, Host: k.host, Port: 5060}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return sipx.Do(ctx, k.stack, &sipx.Request{
		Method: method, URI: uri, From: sipx.Address{URI: uri}.WithTag(rand.Text()), To: sipx.Address{URI: uri},
		CallID: rand.Text(), CSeq: 1, Header: fields, Body: body,
	})
}

// A telephone publishes the dialogs of a device.
type telephone struct {
	k      *kamailio
	device string
	etag   string
}

func (p *telephone) publish(dialogs ...string) {
	fields := []sipx.Field{
		field("Event", "dialog"), field("Expires", "600"), field("Content-Type", dialoginfo.MediaType),
		field("Contact", p.k.stack.Contact(sipx.Flow{})),
	}
	if p.etag != "" {
		fields = append(fields, field("SIP-If-Match", p.etag))
	}
	res, err := p.k.do("PUBLISH", p.device, fmt.Appendf(nil, full(dialogs...), 0), fields...)
	require.NoError(p.k.t, err)
	require.Equal(p.k.t, 200, res.Status)
	p.etag = res.Header.Get("SIP-ETag")
	if len(dialogs) == 1 && strings.Contains(dialogs[0], "terminated") {
		p.etag = "" // Kamailio takes no more for a call that has ended
	}
}

// A fading lamp shows what a presence server would: the last state for as long
// as it lives.
type fadingLamp struct {
	mu    sync.Mutex
	state aa.LineState
	until time.Time
}

func (l *fadingLamp) update(s presence.LineState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.until = s.State, time.Now().Add(s.Lifetime)
}

func (l *fadingLamp) shows() aa.LineState {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().After(l.until) {
		return aa.LineUnknown
	}
	return l.state
}

// watch monitors a device until the test ends, as a presence server does: again
// after a failure.
func (k *kamailio) watch(device string) *fadingLamp {
	l := new(fadingLamp)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			err := k.monitor.MonitorLine(ctx, device, l.update)
			if ctx.Err() != nil {
				return
			}
			k.t.Logf("monitor of %s: %v", device, err)
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	k.t.Cleanup(func() { cancel(); group.Wait() })
	return l
}

func (k *kamailio) eventually(l *fadingLamp, want aa.LineState) {
	k.t.Helper()
	require.Eventually(k.t, func() bool { return l.shows() == want }, time.Minute, 10*time.Millisecond, "want %s", want)
}

// TestKamailio shows line states through a presence server that is not ours
// (BSP-2.1-6, BSP-2.5-1, BSX-2).
func TestKamailio(t *testing.T) {
	k := newKamailio(t, nil)
	l := k.watch("200")
	k.eventually(l, aa.LineIdle) // nothing was published

	desk := &telephone{k: k, device: "200"}
	for _, step := range []struct {
		dialog string
		want   aa.LineState
	}{
		{"a:trying recipient", aa.LineRinging},
		{"a:early recipient", aa.LineRinging},
		{"a:confirmed recipient", aa.LineBusy},
		{"a:terminated recipient", aa.LineIdle},
		{"b:proceeding initiator", aa.LineBusy},
		{"b:terminated initiator", aa.LineIdle},
		{"c:early recipient", aa.LineRinging},
	} {
		desk.publish(step.dialog)
		k.eventually(l, step.want)
	}

	// A second telephone of the device: Kamailio makes one document of both.
	mobile := &telephone{k: k, device: "200"}
	mobile.publish("d:confirmed initiator")
	k.eventually(l, aa.LineBusy)
	mobile.publish("d:terminated initiator")
	k.eventually(l, aa.LineRinging)

	// Calls that have ended stay in Kamailio's documents for a while; they are not
	// dialogs that the device has.
	for i := range 2 * dialoginfo.DefaultMaxDialogs {
		mobile.publish(fmt.Sprintf("f%d:terminated", i))
	}
	mobile.publish("g:confirmed")
	k.eventually(l, aa.LineBusy)
	mobile.publish("g:terminated")
	k.eventually(l, aa.LineRinging)

	// Another device is another subscription.
	other := k.watch("201")
	k.eventually(other, aa.LineIdle)
	(&telephone{k: k, device: "201"}).publish("e:confirmed recipient")
	k.eventually(other, aa.LineBusy)
	require.Equal(t, aa.LineRinging, l.shows())

	// So it is after two lifetimes of the subscription. That nothing fades meanwhile is for
	// the clock of a bubble (TestRefresh): here a busy machine may refresh too late.
	<-time.After(9 * time.Second)
	k.eventually(l, aa.LineRinging)
	k.eventually(other, aa.LineBusy)
}

// TestKamailioRestart shows that values fade while the PBX is down, and recover
// by themselves after it has lost all subscriptions (BSX-2).
func TestKamailioRestart(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		k := newKamailio(t, nil)
		l := k.watch("200")
		(&telephone{k: k, device: "200"}).publish("a:confirmed recipient")
		k.eventually(l, aa.LineBusy)
		k.stop()
		k.start()
		k.eventually(l, aa.LineIdle) // what Kamailio knows now
		(&telephone{k: k, device: "200"}).publish("b:early recipient")
		k.eventually(l, aa.LineRinging)
	})
	t.Run("after a while", func(t *testing.T) {
		k := newKamailio(t, nil)
		l := k.watch("200")
		(&telephone{k: k, device: "200"}).publish("a:confirmed recipient")
		k.eventually(l, aa.LineBusy)
		k.stop()
		k.eventually(l, aa.LineUnknown)
		k.start()
		(&telephone{k: k, device: "200"}).publish("b:confirmed recipient")
		k.eventually(l, aa.LineBusy)
	})
}

// TestKamailioDigest shows Digest towards a server that is not ours.
func TestKamailioDigest(t *testing.T) {
	credentials := func(password string) func(*dialoginfo.Config) {
		return func(c *dialoginfo.Config) {
			c.Username, c.Password = "presence", auth.NewSecret([]byte(password))
		}
	}
	k := newKamailio(t, credentials("s3cret"), "WITH_AUTH")
	l := k.watch("200")
	k.eventually(l, aa.LineIdle)
	(&telephone{k: k, device: "200"}).publish("a:early recipient")
	k.eventually(l, aa.LineRinging)

	k = newKamailio(t, credentials("wrong"), "WITH_AUTH")
	require.ErrorIs(t, k.monitor.MonitorLine(t.Context(), "200", func(presence.LineState) {}), dialoginfo.ErrUnauthorized)
}

func TestKamailioWithoutDialogPackage(t *testing.T) {
	k := newKamailio(t, nil, "WITHOUT_DIALOG")
	require.ErrorIs(t, k.monitor.MonitorLine(t.Context(), "200", func(presence.LineState) {}), dialoginfo.ErrNoDialogPackage)
}
