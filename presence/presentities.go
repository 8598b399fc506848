package presence

import (
	"errors"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
)

// presentities is the registry of those in memory. A presentity stays while
// something refers to it: a watch, a publication, a status left behind, a
// request being served.
type presentities struct {
	server *Server
	mu     sync.Mutex
	m      map[string]*presentity
}

// of returns the presentity for a look-up's result, referred to once more; the
// caller releases it.
func (ps *presentities) of(a directory.Address, r directory.Result) *presentity {
	switch {
	case r.Err == nil:
		return ps.acquire(r.Entry.ID, resolved, r.Entry)
	case errors.Is(r.Err, directory.ErrNotFound), errors.Is(r.Err, directory.ErrAmbiguous):
		return ps.acquire("?"+a.String(), nobody, directory.Entry{})
	}
	return ps.acquire("?"+a.String(), unresolved, directory.Entry{})
}

func (ps *presentities) acquire(key string, kind presentityKind, entry directory.Entry) *presentity {
	ps.mu.Lock()
	p := ps.m[key]
	made := p == nil
	if made {
		p = &presentity{server: ps.server, key: key, kind: kind, entry: entry}
		p.mu.Lock() // until it has its sources; nobody else can hold it yet
		ps.m[key] = p
	}
	p.refs++
	ps.mu.Unlock()
	if made {
		p.attach()
		p.refresh()
		p.mu.Unlock()
	} else {
		ps.server.notify(p.renew(kind, entry))
	}
	return p
}

func (ps *presentities) retain(p *presentity) {
	ps.mu.Lock()
	p.refs++
	ps.mu.Unlock()
}

func (ps *presentities) release(p *presentity) {
	ps.mu.Lock()
	p.refs--
	gone := p.refs == 0
	if gone && ps.m[p.key] == p {
		delete(ps.m, p.key)
	}
	ps.mu.Unlock()
	if gone {
		p.mu.Lock()
		p.detach()
		stopTimer(&p.change)
		stopTimer(&p.retry)
		stopTimer(&p.winfo.timer)
		p.mu.Unlock()
	}
}

func (ps *presentities) releaseAny(p *presentity) {
	if p != nil {
		ps.release(p)
	}
}

func (ps *presentities) all() []*presentity {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]*presentity, 0, len(ps.m))
	for _, p := range ps.m {
		list = append(list, p)
	}
	return list
}

func stopTimer(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}
