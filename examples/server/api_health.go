package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// probeTime bounds what /readyz waits for.
const probeTime = 2 * time.Second

// getHealth is GET /healthz: the process answers.
func (s *server) getHealth(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// getReady is GET /readyz: the directories can be asked. Where they cannot, the
// server goes on with what it knows, and says so here with the reason.
func (s *server) getReady(w http.ResponseWriter, r *http.Request) error {
	if s.stopping.Load() {
		writeError(w, http.StatusServiceUnavailable, "server: shutting down")
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), probeTime)
	defer cancel()
	for _, p := range s.backends.probes {
		if err := p.check(ctx); err != nil {
			w.Header().Set("Retry-After", "5")
			writeError(w, http.StatusServiceUnavailable, fmt.Sprintf("%s: %s", p.name, oneLine(err.Error())))
			return nil
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	return nil
}
