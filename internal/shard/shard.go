// Package shard is a map in parts that have a lock each, so that those who look for
// different keys seldom wait for each other.
package shard

import (
	"hash/maphash"
	"sync"
)

// Map is made by [New]. It is safe for concurrent use.
type Map[V any] struct {
	seed  maphash.Seed
	parts [64]Part[V]
}

// Part is one part of a [Map]. Its lock guards Of.
type Part[V any] struct {
	sync.Mutex
	Of map[string]V
}

// New makes an empty map.
func New[V any]() *Map[V] {
	m := &Map[V]{seed: maphash.MakeSeed()}
	for i := range m.parts {
		m.parts[i].Of = make(map[string]V)
	}
	return m
}

// Lock returns the part that a key belongs to, locked.
func (m *Map[V]) Lock(key string) *Part[V] {
	p := &m.parts[maphash.String(m.seed, key)%uint64(len(m.parts))]
	p.Lock()
	return p
}

// Get returns the value of a key, or the zero V.
func (m *Map[V]) Get(key string) V {
	p := m.Lock(key)
	defer p.Unlock()
	return p.Of[key]
}

// Values returns a copy of all values, in no order.
func (m *Map[V]) Values() []V {
	var all []V
	for i := range m.parts {
		p := &m.parts[i]
		p.Lock()
		for _, v := range p.Of {
			all = append(all, v)
		}
		p.Unlock()
	}
	return all
}

// Len returns how many keys there are.
func (m *Map[V]) Len() int {
	n := 0
	for i := range m.parts {
		m.parts[i].Lock()
		n += len(m.parts[i].Of)
		m.parts[i].Unlock()
	}
	return n
}
