package console

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Node is one of several servers that serve a site together.
type Node struct {
	Name    string `json:"name"`
	ID      string `json:"id"`      // another one with each start
	This    bool   `json:"this"`    // it is the one that was asked
	State   string `json:"state"`   // "alive", or "silent": its lease was not renewed in time
	Lease   string `json:"lease"`   // how long it may be silent
	Renewed string `json:"renewed"` // how long ago its lease was
	Dialogs int    `json:"dialogs"` // subscriptions that it has, when it said so last
}

// nodesTimeout is how long Config.Nodes is waited for: who asks wants to know what is wrong.
const nodesTimeout = time.Second

// getNodes is GET /v1/nodes.
func (c *Console) getNodes(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), nodesTimeout)
	defer cancel()
	nodes, err := c.cfg.Nodes(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("it does not answer")
		}
		writeError(w, http.StatusServiceUnavailable, "the store cannot be asked: "+oneLine(err))
		return nil
	}
	p, err := pageOf(r, nodes)
	if err == nil {
		writeJSON(w, http.StatusOK, p)
	}
	return err
}
