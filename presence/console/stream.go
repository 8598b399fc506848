package console

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
)

// MaxListeners is how many may listen to a [Stream] at a time. Beyond, /v1/events is 503.
const MaxListeners = 64

const (
	maxQueue  = 1024             // events that wait for one of them
	heartbeat = 15 * time.Second // between comments that show that the server is there
	writeTime = 10 * time.Second // for a listener to take what is sent

	maxRemembered = 10_000 // users whose last changes are kept
	maxTimeline   = 20     // changes that are kept of each
)

// Stream takes the changes of presence, keeps the last ones of each user, and serves
// them as server-sent events. A listener that does not keep up is dropped: it sees its
// connection end, and can ask for what it missed. The zero Stream is ready for use, and
// is safe for concurrent use.
type Stream struct {
	mu        sync.Mutex
	listeners map[chan []byte]struct{}
	closed    bool
	users     map[string]*history // by entity
	clock     []*history          // the same ones: who has not changed since the hand passed goes first
	hand      int
}

// history is the last changes of one user.
type history struct {
	entity  string
	again   bool // it has changed since the hand passed
	changes int
	log     []byte // of them, the oldest first; flat, since there may be many
}

// moment is one change.
type moment struct {
	Status    consolidation.Status `json:"status"`
	Note      string               `json:"note"`
	Timestamp stamp                `json:"timestamp"`
}

// Changed is the hook of [presence.Hooks] that feeds the stream. It does not block.
func (s *Stream) Changed(c presence.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := moment{c.Status, c.Note, stamp(c.Timestamp)}
	s.remember(c.Entity, m)
	if len(s.listeners) == 0 {
		return
	}
	data, err := json.Marshal(struct {
		Entity string `json:"entity"`
		moment
	}{c.Entity, m})
	if err != nil {
		return // texts can be written
	}
	event := bytes.Join([][]byte{[]byte("event: presence\ndata: "), data, []byte("\n\n")}, nil)
	for queue := range s.listeners {
		select {
		case queue <- event:
		default:
			s.drop(queue)
		}
	}
}

// remember adds a change to the history of a user. The lock is held.
func (s *Stream) remember(entity string, m moment) {
	h := s.users[entity]
	if h != nil {
		h.again = true
		h.add(m)
		return
	}
	h = &history{entity: strings.Clone(entity)} // it may be a part of a request
	h.add(m)
	if s.users == nil {
		s.users = make(map[string]*history)
	}
	s.users[h.entity] = h
	if len(s.clock) < maxRemembered {
		s.clock = append(s.clock, h)
		return
	}
	for s.clock[s.hand].again {
		s.clock[s.hand].again = false
		s.hand = (s.hand + 1) % maxRemembered
	}
	delete(s.users, s.clock[s.hand].entity)
	s.clock[s.hand] = h
	s.hand = (s.hand + 1) % maxRemembered
}

// add adds a change, which takes the place of the oldest where there are maxTimeline.
func (h *history) add(m moment) {
	if h.changes == maxTimeline {
		_, _, _, rest := firstMoment(h.log)
		h.log = append(h.log[:0], rest...)
		h.changes--
	}
	for _, text := range [...]string{string(m.Status), m.Note} {
		h.log = append(binary.AppendUvarint(h.log, uint64(len(text))), text...)
	}
	h.log = binary.AppendVarint(h.log, time.Time(m.Timestamp).Unix())
	h.changes++
}

// firstMoment returns the parts of the first change of a log, and those behind it.
func firstMoment(log []byte) (status, note []byte, at int64, rest []byte) {
	text := func() []byte {
		n, size := binary.Uvarint(log)
		s := log[size : size+int(n)]
		log = log[size+int(n):]
		return s
	}
	status, note = text(), text()
	at, size := binary.Varint(log)
	return status, note, at, log[size:]
}

// timeline returns the last changes of a user, the newest first.
func (s *Stream) timeline(entity string) []moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := []moment{}
	if h := s.users[entity]; h != nil {
		for log := h.log; len(log) > 0; {
			status, note, at, rest := firstMoment(log)
			changes = append(changes, moment{consolidation.Status(status), string(note), stamp(time.Unix(at, 0))})
			log = rest
		}
	}
	slices.Reverse(changes)
	return changes
}

// Listeners returns how many listen now.
func (s *Stream) Listeners() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners)
}

// Close ends the connections of all listeners, and lets no more in: for the shutdown of
// an HTTP server, which waits for them.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for queue := range s.listeners {
		s.drop(queue)
	}
}

// join adds a listener; ok is false where there are too many.
func (s *Stream) join() (queue chan []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.listeners) >= MaxListeners {
		return nil, false
	}
	if s.listeners == nil {
		s.listeners = make(map[chan []byte]struct{})
	}
	queue = make(chan []byte, maxQueue)
	s.listeners[queue] = struct{}{}
	return queue, true
}

func (s *Stream) leave(queue chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(queue)
}

// drop closes a queue once. The lock is held.
func (s *Stream) drop(queue chan []byte) {
	if _, in := s.listeners[queue]; in {
		delete(s.listeners, queue)
		close(queue)
	}
}

// ServeHTTP serves the events until the listener goes, is too slow, or Close is called.
// It lets everybody in: [Console] is what asks who they are.
func (s *Stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	queue, ok := s.join()
	if !ok {
		w.Header().Set("Retry-After", "10")
		writeError(w, http.StatusServiceUnavailable, "too many clients listen to events")
		return
	}
	defer s.leave(queue)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Time{}) // the server's would end the request
	send := func(text []byte) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(writeTime))
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
