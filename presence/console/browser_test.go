package console_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/require"
)

// tab is a page in a headless Chromium, driven over its DevTools protocol.
type tab struct {
	t       *testing.T
	conn    net.Conn
	session string
	last    int
}

// newTab opens a page. Without a Chromium the test is skipped, and fails where
// BLUSTAR_INTEGRATION is "required".
func newTab(t *testing.T, url string, width, height int) *tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
			require.NoError(t, err)
		}
		t.Skip("chromium is not installed; BLUSTAR_INTEGRATION=required makes this an error")
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", "about:blank")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		find := regexp.MustCompile(`DevTools listening on (ws://\S+)`)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := find.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	b := &tab{t: t}
	t.Cleanup(func() {
		if b.conn != nil {
			b.send("Browser.close", nil) // so that all its processes end
		}
		done := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-ended
		_ = cmd.Wait()
		done.Stop()
		if b.conn != nil {
			_ = b.conn.Close()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case at := <-address:
		var buffered *bufio.Reader
		b.conn, buffered, _, err = ws.Dial(ctx, at)
		require.NoError(t, err)
		require.Nil(t, buffered)
	case <-ctx.Done():
		require.FailNow(t, "chromium does not start")
	}
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.size(width, height)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	return b
}

func (b *tab) size(width, height int) {
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

func (b *tab) send(method string, params any) {
	b.last++
	text, err := json.Marshal(map[string]any{"id": b.last, "sessionId": b.session, "method": method, "params": params})
	require.NoError(b.t, err)
	if method == "Browser.close" || b.session == "" {
		text, _ = json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	}
	_ = b.conn.SetDeadline(time.Now().Add(time.Minute))
	require.NoError(b.t, wsutil.WriteClientText(b.conn, text))
}

// call waits for the answer to one command.
func (b *tab) call(method string, params, result any) {
	b.t.Helper()
	b.send(method, params)
	for {
		text, err := wsutil.ReadServerText(b.conn)
		require.NoError(b.t, err)
		var answer struct {
			ID     int
			Error  json.RawMessage
			Result json.RawMessage
		}
		require.NoError(b.t, json.Unmarshal(text, &answer))
		if answer.ID != b.last {
			continue // an event
		}
		require.Empty(b.t, string(answer.Error), method)
		if result != nil {
			require.NoError(b.t, json.Unmarshal(answer.Result, result))
		}
		return
	}
}

// eval returns the value of a JavaScript expression.
func (b *tab) eval(expression string) any {
	b.t.Helper()
	var out struct {
		Result           struct{ Value any }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &out)
	require.Empty(b.t, string(out.ExceptionDetails), expression)
	return out.Result.Value
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	ok := b.eval(`new Promise((done) => {
		const end = Date.now() + 30000;
		const look = () => {
			let is = false;
			try { is = !!(` + expression + `); } catch { /* not yet */ }
			if (is || Date.now() > end) done(is); else setTimeout(look, 20);
		};
		look();
	})`)
	require.Equal(b.t, true, ok, "%s; the page says: %s", expression, b.eval("document.body.innerText"))
}

func (b *tab) text() string { return b.eval("document.body.innerText").(string) }

// press is a key on the keyboard.
func (b *tab) press(key string, code int) {
	for _, kind := range []string{"rawKeyDown", "char", "keyUp"} {
		params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
		if key == "Enter" && kind == "char" {
			params["text"] = "\r"
		}
		b.call("Input.dispatchKeyEvent", params, nil)
	}
}

// keep writes what is to be seen into the folder of BLUSTAR_SCREENSHOTS, if that is set.
func (b *tab) keep(name string) {
	b.t.Helper()
	folder := os.Getenv("BLUSTAR_SCREENSHOTS")
	if folder == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(strings.TrimSuffix(folder, "/")+"/"+name+".png", png, 0o600))
}
