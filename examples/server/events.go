package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
)

const (
	maxEventClients = 64               // that listen to /v1/events at a time
	maxEventQueue   = 1024             // events that wait for one of them
	heartbeat       = 15 * time.Second // between comments that show that the server is there
	eventTime       = 10 * time.Second // for a client to take what is sent
)

// events hands changes of presence to the clients of /v1/events. A client that
// does not keep up is dropped: it sees its connection end, and can ask for what
// it missed.
type events struct {
	max int

	mu      sync.Mutex
	clients map[chan []byte]struct{}
	closed  bool
}

func newEvents(max int) *events {
	return &events{max: max, clients: make(map[chan []byte]struct{})}
}

// publish is one of [presence.Hooks]: it does not block.
func (ev *events) publish(c presence.Change) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if len(ev.clients) == 0 {
		return
	}
	data, err := json.Marshal(struct {
		Entity    string               `json:"entity"`
		Status    consolidation.Status `json:"status"`
		Note      string               `json:"note"`
		Timestamp stamp                `json:"timestamp"`
	}{c.Entity, c.Status, c.Note, stamp(c.Timestamp)})
	if err != nil {
		return // four texts can be written
	}
	event := bytes.Join([][]byte{[]byte("event: presence\ndata: "), data, []byte("\n\n")}, nil)
	for queue := range ev.clients {
		select {
		case queue <- event:
		default:
			ev.drop(queue)
		}
	}
}

// join adds a client; ok is false where there are too many.
func (ev *events) join() (queue chan []byte, ok bool) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	if ev.closed || len(ev.clients) >= ev.max {
		return nil, false
	}
	queue = make(chan []byte, maxEventQueue)
	ev.clients[queue] = struct{}{}
	return queue, true
}

func (ev *events) leave(queue chan []byte) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.drop(queue)
}

// drop closes a queue once. The lock is held.
func (ev *events) drop(queue chan []byte) {
	if _, in := ev.clients[queue]; in {
		delete(ev.clients, queue)
		close(queue)
	}
}

// close ends all clients, and lets no more in.
func (ev *events) close() {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.closed = true
	for queue := range ev.clients {
		ev.drop(queue)
	}
}

func (ev *events) count() int {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	return len(ev.clients)
}

// ServeHTTP is GET /v1/events: server-sent events until the client goes, is too
// slow, or the server shuts down.
func (ev *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	queue, ok := ev.join()
	if !ok {
		w.Header().Set("Retry-After", "10")
		writeError(w, http.StatusServiceUnavailable, "too many clients listen to events")
		return
	}
	defer ev.leave(queue)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Time{}) // the server's would end the request
	send := func(text []byte) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(eventTime))
		_, err := w.Write(text)
		return err == nil && conn.Flush() == nil
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for text, open := []byte(": listening\n\n"), true; open && send(text); {
		select {
		case text, open = <-queue:
		case <-beat.C:
			text = []byte(": heartbeat\n\n")
		case <-r.Context().Done():
			return
		}
	}
}
