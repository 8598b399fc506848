package presence

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file uses only what stands in the files that doc.go lists to its right, or below.
func TestLayers(t *testing.T) {
	place := places(t)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(place)) {
		f, err := parser.ParseFile(fset, name+".go", nil, 0)
		require.NoError(t, err)
		files = append(files, f)
	}
	uses := make(map[*ast.Ident]types.Object)
	others := types.Config{Importer: noImports{}, Error: func(error) {}} // of other packages nothing is known
	pkg, _ := others.Check("presence", fset, files, &types.Info{Uses: uses})
	fileOf := func(pos token.Pos) string { return strings.TrimSuffix(fset.Position(pos).Filename, ".go") }
	arrows, up := make(map[string]bool), make(map[string]bool)
	for id, o := range uses {
		if o.Pkg() != pkg || !o.Pos().IsValid() || fileOf(id.Pos()) == fileOf(o.Pos()) {
			continue
		}
		from, to := fileOf(id.Pos()), fileOf(o.Pos())
		arrow := from + " -> " + to
		if arrows[arrow] = true; place[to] < place[from] && from != "server" && arrow != "presentity -> winfo" {
			up[arrow] = true
		}
	}
	require.Greater(t, len(arrows), 200)
	require.Empty(t, up)
}

// places reads the list of the files.
func places(t *testing.T) map[string]int {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	place := make(map[string]int)
	for _, line := range regexp.MustCompile(`(?m)^//\t(.*?)   `).FindAllStringSubmatch(string(doc), -1) {
		for _, name := range strings.Fields(line[1]) {
			place[name] = len(place)
		}
	}
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range names {
		if name = strings.TrimSuffix(name, ".go"); !strings.HasSuffix(name, "_test") && name != "doc" {
			require.Contains(t, place, name, "doc.go does not list it")
		}
	}
	return place
}

// noImports has no package.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }
