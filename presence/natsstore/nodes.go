package natsstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Node is a node that lives, or that nobody has taken the place of yet.
type Node struct {
	Name    string
	ID      string        // [Store.Node]
	Lease   time.Duration // how long it may be silent
	Renewed time.Duration // how long ago it renewed its lease, by the clocks of NATS
	Dialogs int           // of its [Config].Dialogs, when it renewed its lease
	Site    string        // of its [Config]
}

// Nodes lists the nodes by name.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(s.leaseSubject(">")))
	if err != nil {
		return nil, err
	}
	var nodes []Node
	for subject := range info.State.Subjects {
		m, err := s.stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		var r leaseRecord
		if err == nil {
			err = json.Unmarshal(m.Data, &r)
		}
		if err != nil {
			return nil, err
		}
		if r.Free || r.Done || s.leaseSubject(r.ID) != subject { // it has ended, or its heir is at work
			continue
		}
		nodes = append(nodes, Node{r.Node, r.ID, r.Lease, max(0, info.TimeStamp.Sub(m.Time)), r.Dialogs, r.Site})
	}
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return nodes, nil
}

// sameSite reports an error where a node of another site uses the stream.
func (s *Store) sameSite(ctx context.Context) error {
	if s.cfg.Site == "" {
		return nil
	}
	nodes, err := s.Nodes(ctx)
	for _, n := range nodes {
		if n.Site != "" && n.Site != s.cfg.Site {
			return fmt.Errorf("%w: node %q serves %q, this one %q", ErrSite, n.Name, n.Site, s.cfg.Site)
		}
	}
	return err
}
