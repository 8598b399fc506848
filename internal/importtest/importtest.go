// Package importtest holds a package to the imports that it may have.
package importtest

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Only fails the test unless the package in the working directory imports these and
// the standard library alone, its tests aside.
func Only(t *testing.T, allowed ...string) {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			first, _, _ := strings.Cut(name, "/")
			if strings.Contains(first, ".") && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, which this package must not know", path, name)
			}
		}
	}
}
