package publication_test

import (
	"testing"

	"github.com/openblustar/blustar/internal/importtest"
)

// The package stands on its own: it knows nothing of the other rooms, nor of a server.
func TestImports(t *testing.T) {
	importtest.Only(t, "github.com/openblustar/blustar/pidf", "github.com/openblustar/blustar/pidf/aa", "github.com/openblustar/blustar/internal/conf", "github.com/openblustar/blustar/internal/deadline", "github.com/openblustar/blustar/internal/shard")
}
