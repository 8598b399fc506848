package auth

import "sync"

// places bounds the requests that wait for a check of their credentials, each of
// which holds up a goroutine of the host: in all, and for each key.
type places struct {
	most, share int

	mu    sync.Mutex
	taken int
	by    map[recordKey]int
}

func newPlaces(most, share int) *places {
	return &places{most: most, share: max(1, share), by: make(map[recordKey]int)}
}

// take returns false where all places are taken, or the share of one of the keys. A
// zero key has no share.
func (p *places) take(keys ...recordKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.most {
		return false
	}
	for _, k := range keys {
		if k != (recordKey{}) && p.by[k] >= p.share {
			return false
		}
	}
	p.taken++
	for _, k := range keys {
		p.by[k]++
	}
	return true
}

func (p *places) leave(keys ...recordKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	for _, k := range keys {
		if p.by[k]--; p.by[k] == 0 {
			delete(p.by, k)
		}
	}
}

func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}
