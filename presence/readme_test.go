package presence_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program of the README is the example of this package, which is tested.
func TestReadme(t *testing.T) {
	between := func(file, begin, end string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		_, rest, found := strings.Cut(string(text), begin)
		require.True(t, found, "%s has no %q", file, begin)
		part, _, found := strings.Cut(rest, end)
		require.True(t, found, "%s has no %q", file, end)
		return part
	}
	program := "package main\n\nimport (" + between("example_test.go", "import (", "\n// A presence server in a host's") +
		"\nfunc main() {" + between("example_test.go", "func Example() {", "\t// Output") + "}\n"
	require.Equal(t, program, between("../README.md", "```go\n", "```"))
}
