package natsstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openblustar/blustar/presence"
)

// Errors of a [Store], to be told with [errors.Is].
var (
	// ErrNotAlive is what a node without a lease is told: it has not joined yet, or has lost
	// its lease, or has given it back.
	ErrNotAlive = errors.New("natsstore: this node has no lease")
	// ErrVersion is a stream that this program did not make, or a newer one did.
	ErrVersion = errors.New("natsstore: it is no such store, or of another version")
	// ErrClock is a clock that is wrong: that of this machine, or of the NATS servers.
	ErrClock = errors.New("natsstore: the clocks of this machine and of NATS differ")
	// ErrSite is a stream that serves another site.
	ErrSite = errors.New("natsstore: it is another site's")
)

// Defaults and bounds of [Config].
const (
	DefaultBucket = "blustar"
	DefaultLease  = 10 * time.Second
	MinLease      = time.Second
	MaxLease      = 30 * time.Second // deletions are told for longer: who has its lease has missed none
	// MaxClockDifference is how far the clock of a node may be from that of NATS, and so is half
	// of what those of two nodes may differ.
	MaxClockDifference = 2 * time.Second
)

// Config is what a [Store] is made from. The zero value of all but Conn is usable.
type Config struct {
	// Conn is the connection to NATS. It belongs to the host, who closes it after the
	// Store; it should reconnect for ever (nats.MaxReconnects(-1)), try more often than each
	// quarter of Lease (nats.ReconnectWait is 2 s by default, and the tries are spread), and
	// give up a server that says nothing after as long (nats.Timeout): all wait meanwhile.
	Conn *nats.Conn
	// Bucket names the stream: letters, digits, '-' and '_'; empty: DefaultBucket. All
	// nodes of a site have the same, and no other site has it.
	Bucket string
	// Replicas is how many NATS servers keep the records, 1 to 5, where Open makes the
	// stream; 0: 1.
	Replicas int
	// Node names this node in logs and to the others; empty: the name of the host.
	Node string
	// Lease is how long after its last sign of life another takes a node's place; 0:
	// DefaultLease; MinLease to MaxLease.
	Lease time.Duration
	// Site names what all nodes of the bucket serve, such as their first domain. A node of
	// another site is refused, so that it takes nobody's place there; empty: none is.
	Site string
	// Dialogs tells how many subscriptions this node has, for [Store.Nodes]; nil: 0. It is
	// called from [Store.Join]'s return on, until Close.
	Dialogs func() int
	// Logger is told who takes whose place; nil: nobody.
	Logger *slog.Logger

	now func() time.Time // in tests; else time.Now
}

// Store is a [presence.Shared] store in a JetStream stream, as one node has it. It is
// safe for concurrent use.
type Store struct {
	cfg    Config
	js     jetstream.JetStream
	stream jetstream.Stream
	log    *slog.Logger
	id     string // of this Store among all
	lease  lease
	calls  calls
	mu     sync.Mutex // of batches: one at a time

	// Of those who look at the leases of others, one at a time.
	wrongClock bool              // and it is in the log
	looked     bool              // once, at least
	namesakes  map[string]uint64 // that were there before, with the sequence of their lease
}

var _ presence.Shared = (*Store)(nil)

// format is the version of what is in the stream, which its metadata names.
const (
	format     = "1"
	keyFormat  = "blustar-format"
	headExpiry = "Blustar-Expires" // in milliseconds since 1970
	headGone   = "Blustar-Deleted"
	headNode   = "Blustar-Node"
	// tombstone is how long a deletion is kept in place of what it deletes.
	tombstone = time.Minute
)

var bucketName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Open finds the stream, or makes it where there is none, and waits until ctx ends for a
// NATS that is not ready. It has no lease before [Store.Join]. The error names everything that is wrong
// with cfg, or wraps [ErrVersion], [ErrSite], [ErrClock] or that of NATS.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.Bucket = cmp.Or(cfg.Bucket, DefaultBucket)
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	cfg.Lease = cmp.Or(cfg.Lease, DefaultLease)
	if cfg.Node == "" {
		cfg.Node, _ = os.Hostname()
	}
	if cfg.now == nil {
		cfg.now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var wrong []error
	if cfg.Conn == nil {
		wrong = append(wrong, errors.New("natsstore: Conn is missing"))
	}
	if !bucketName.MatchString(cfg.Bucket) {
		wrong = append(wrong, fmt.Errorf("natsstore: Bucket %q: want letters, digits, - and _, at most 64", cfg.Bucket))
	}
	if cfg.Replicas < 1 || cfg.Replicas > 5 {
		wrong = append(wrong, fmt.Errorf("natsstore: Replicas %d: want 1 to 5", cfg.Replicas))
	}
	if cfg.Lease < MinLease || cfg.Lease > MaxLease {
		wrong = append(wrong, fmt.Errorf("natsstore: Lease %v: want %v to %v", cfg.Lease, MinLease, MaxLease))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("natsstore: %w", err)
	}
	s := &Store{cfg: cfg, js: js, id: rand.Text()[:idLength], log: cfg.Logger.With("node", cfg.Node, "bucket", cfg.Bucket),
		namesakes: make(map[string]uint64)}
	s.lease.lost = make(chan struct{})
	s.calls.ctx, s.calls.cancel = context.WithCancel(context.Background())
	s.calls.room = make(chan struct{}, maxCalls)
	for {
		try, cancel := context.WithTimeout(ctx, openPatience)
		if s.stream, err = s.open(try); err == nil {
			err = errors.Join(s.sameSite(try), s.sameTime(try))
		}
		cancel()
		if err == nil {
			return s, nil
		}
		if err = fmt.Errorf("natsstore: bucket %q: %w", cfg.Bucket, err); !isNotReady(err) {
			return nil, err
		}
		s.log.Warn("NATS is not ready", "error", err)
		if pause(ctx, cfg.Lease/10) != nil {
			return nil, err
		}
	}
}

// idLength is how many letters and digits name a node: 50 random bits.
const idLength = 10

// openPatience is how long Open waits for one answer.
const openPatience = 5 * time.Second

// isNotReady reports whether a NATS that starts, or elects a leader, answers so.
func isNotReady(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.Code == 503 || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

func (s *Store) open(ctx context.Context) (jetstream.Stream, error) {
	stream, err := s.js.Stream(ctx, s.cfg.Bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: s.cfg.Bucket, Subjects: []string{s.cfg.Bucket + ".>"},
			Description:        "records of a BluStar presence server",
			Metadata:           map[string]string{keyFormat: format},
			Replicas:           s.cfg.Replicas,
			MaxMsgsPerSubject:  1,
			Discard:            jetstream.DiscardNew,
			AllowMsgTTL:        true,
			AllowAtomicPublish: true,
		})
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
		stream, err = s.js.Stream(ctx, s.cfg.Bucket)
	}
	if err != nil {
		return nil, err
	}
	cfg := stream.CachedInfo().Config
	if got := cfg.Metadata[keyFormat]; got != format || !cfg.AllowAtomicPublish || !cfg.AllowMsgTTL || cfg.MaxMsgsPerSubject != 1 {
		return nil, fmt.Errorf("%w: %s is %q; this program knows %q", ErrVersion, keyFormat, got, format)
	}
	return stream, nil
}

// subject is where a record is: kinds and keys are any bytes, subjects are not.
func (s *Store) subject(kind, key string) string {
	return s.records() + base64.RawURLEncoding.EncodeToString([]byte(kind)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(key))
}

func (s *Store) records() string { return s.cfg.Bucket + ".record." }
func (s *Store) fence() string   { return s.cfg.Bucket + ".fence" }

// record reads a message. It reports false where the record was deleted or has expired.
func (s *Store) record(subject string, head nats.Header, data []byte, revision uint64) (presence.Record, bool, error) {
	name := strings.Split(strings.TrimPrefix(subject, s.records()), ".")
	if len(name) != 2 {
		return presence.Record{}, false, fmt.Errorf("natsstore: subject %q is no record's", subject)
	}
	kind, err := base64.RawURLEncoding.DecodeString(name[0])
	key, err2 := base64.RawURLEncoding.DecodeString(name[1])
	if err := errors.Join(err, err2); err != nil {
		return presence.Record{}, false, fmt.Errorf("natsstore: subject %q is no record's: %w", subject, err)
	}
	r := presence.Record{Kind: string(kind), Key: string(key), Value: data, Revision: revision, Node: head.Get(headNode)}
	if r.Value == nil {
		r.Value = []byte{}
	}
	if text := head.Get(headExpiry); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return r, false, fmt.Errorf("natsstore: %s of %q: %w", headExpiry, subject, err)
		}
		r.Expires = time.UnixMilli(ms)
	}
	there := head.Get(headGone) == "" && head.Get(jetstream.MarkerReasonHeader) == "" &&
		(r.Expires.IsZero() || time.Until(r.Expires) > 0)
	return r, there, nil
}

// message is what a write publishes.
func (s *Store) message(w presence.Write) *nats.Msg {
	m := nats.NewMsg(s.subject(w.Kind, w.Key))
	m.Header.Set(headNode, s.id)
	switch {
	case w.Value == nil:
		m.Header.Set(headGone, "1")
		setTTL(m, tombstone)
	case !w.Expires.IsZero():
		m.Header.Set(headExpiry, strconv.FormatInt(w.Expires.UnixMilli(), 10))
		setTTL(m, time.Until(w.Expires))
	}
	m.Data = w.Value
	return m
}

// setTTL has JetStream forget a message: after d, in whole seconds, and one at least.
func setTTL(m *nats.Msg, d time.Duration) {
	seconds := max(1, int64((d+time.Second-1)/time.Second))
	m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(seconds, 10))
}

// Load implements [presence.Store]. A message that is no record is logged and passed over.
func (s *Store) Load(ctx context.Context, f func(presence.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.Alive() {
		return ErrNotAlive
	}
	now, err := s.publish(ctx, nil) // after all that is there
	if err != nil {
		return err
	}
	return s.read(ctx, "load", now, jetstream.ConsumerConfig{
		FilterSubjects: []string{s.records() + ">", s.fence()}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	}, func(m jetstream.Msg, sequence uint64) error {
		if m.Subject() == s.fence() {
			return nil
		}
		r, there, err := s.record(m.Subject(), m.Headers(), m.Data(), sequence)
		if err != nil { // it is none of ours, and must not keep every node from starting
			s.log.Error("a record is passed over", "error", err)
			return nil
		}
		if !there {
			return nil
		}
		return f(r)
	})
}
