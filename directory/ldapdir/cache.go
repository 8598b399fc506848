package ldapdir

import (
	"container/list"
	"time"
)

// An lru holds the most recently used values, with the time at which each was
// put. It is not safe for concurrent use.
type lru[K comparable, V any] struct {
	max     int
	order   list.List // of *lruItem, the last used one in front
	items   map[K]*list.Element
	evicted uint64
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
	put   time.Time
}

// newLRU returns a cache of at most max values, at least one.
func newLRU[K comparable, V any](max int) *lru[K, V] {
	return &lru[K, V]{max: max, items: make(map[K]*list.Element)}
}

// get returns the value of key and its age at now.
func (c *lru[K, V]) get(key K, now time.Time) (value V, age time.Duration, ok bool) {
	el, ok := c.items[key]
	if !ok {
		return value, 0, false
	}
	c.order.MoveToFront(el)
	item := el.Value.(*lruItem[K, V])
	return item.value, now.Sub(item.put), true
}

func (c *lru[K, V]) put(key K, value V, now time.Time) {
	c.remove(key)
	for len(c.items) >= c.max {
		c.remove(c.order.Back().Value.(*lruItem[K, V]).key)
		c.evicted++
	}
	c.items[key] = c.order.PushFront(&lruItem[K, V]{key, value, now})
}

func (c *lru[K, V]) remove(key K) {
	if el, ok := c.items[key]; ok {
		c.order.Remove(el)
		delete(c.items, key)
	}
}

func (c *lru[K, V]) len() int { return len(c.items) }
