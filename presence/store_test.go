package presence_test

import (
	"testing"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, before presence.Store) presence.Store {
		if before != nil {
			return before
		}
		return &presence.MemoryStore{}
	})
}
