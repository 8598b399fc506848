package pidf_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The package stands on its own: it uses nothing of other modules, and of this one what is below it.
func TestImports(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	below, err := filepath.Glob("internal/*/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, below)
	paths = append(paths, below...)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if strings.Contains(name, ".") {
				require.True(t, strings.HasPrefix(name, "github.com/openblustar/blustar/pidf/internal/"), "%s: %s", path, name)
			}
		}
	}
}
