package subscription_test

import (
	"testing"

	"github.com/openblustar/blustar/internal/importtest"
)

// The package stands on its own: it knows nothing of the other rooms, nor of a server.
func TestImports(t *testing.T) {
	importtest.Only(t, "github.com/openblustar/blustar/sipx", "github.com/openblustar/blustar/internal/await", "github.com/openblustar/blustar/internal/conf", "github.com/openblustar/blustar/internal/deadline")
}
