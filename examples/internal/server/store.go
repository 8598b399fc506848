package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/hostconfig"
)

// describeStore says what the store is for.
func describeStore(s *hostconfig.Store) string {
	switch {
	case s == nil:
		return "keep its state in memory alone: a restart ends all subscriptions"
	case s.NATS != nil:
		return describeNodes(s)
	case s.Sync < 0:
		return "keep its state in " + s.File + ", before each answer"
	case s.Sync > 0:
		return fmt.Sprintf("keep its state in %s, every %v", s.File, time.Duration(s.Sync))
	}
	return "keep its state in " + s.File
}

// restoreTime bounds how long the server reads its store.
const restoreTime = time.Minute

// restore goes on with what is in the store, but for the sessions of accounts of the file that
// have changed meanwhile. Of others, sweepSessions asks.
func (s *server) restore() error {
	ctx, cancel := context.WithTimeout(context.Background(), restoreTime)
	defer cancel()
	if err := s.presence.Restore(ctx); err != nil {
		return err
	}
	s.endSessions(func(id auth.Identity) bool { return s.backends.local(id) && s.backends.gone(ctx, id) })
	return nil
}

func (s *server) closeStore(ctx context.Context, log *slog.Logger) {
	if s.nodes != nil {
		if err := s.nodes.Close(ctx); err != nil {
			log.Warn("the other nodes take over later", "error", err)
		}
	}
	if s.store == nil {
		return
	}
	if err := s.store.Close(); err != nil {
		log.Error("the store could not be closed", "error", err)
	}
}

// storeReady reports whether the store takes what it is given.
func (s *server) storeReady(context.Context) error {
	if s.nodes != nil && !s.nodes.Alive() {
		return errors.New("this node has no lease")
	}
	if st := s.presence.Stats(); st.StoreFailing {
		return fmt.Errorf("it fails: %d changes are in memory alone", st.StoreWaiting)
	}
	return nil
}

// getBackup is GET /v1/backup: the file of the store as it is now.
func (s *server) getBackup(w http.ResponseWriter, r *http.Request) {
	if s.store == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="blustar.db"`)
	if _, err := s.store.Backup(w); err != nil {
		s.log.Warn("a backup was not taken to its end", "error", err)
		panic(http.ErrAbortHandler) // the copy must not look whole
	}
}
