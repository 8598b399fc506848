package pidf_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// outputs are what the tests of this package have written, for xmllint.
var outputs struct {
	sync.Mutex
	all []output
}

// output is a document in both dialects, and what it was read from; nil where it was built out of valid values.
type output struct {
	test                     string
	input, blustar, standard []byte
}

// written has xmllint look at a document once all tests have run.
func written(t testing.TB, input, blustar, standard []byte) {
	if flag.Lookup("test.fuzz").Value.String() != "" {
		return // a fuzzer writes millions
	}
	outputs.Lock()
	defer outputs.Unlock()
	outputs.all = append(outputs.all, output{t.Name(), input, blustar, standard})
}

// BSP-5.1-1: whatever any test has written is well-formed, and valid where its input was. xmllint looks at all of it at
// once. Without it and the schemas of the RFCs that is left out; with BLUSTAR_INTEGRATION=required it fails.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := validateOutputs(); err != nil {
		fmt.Println("FAIL: xmllint:", err)
		code = 1
	}
	os.Exit(code)
}

func validateOutputs() error {
	if len(outputs.all) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "pidf")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	v, missing := makeValidator(dir)
	switch {
	case missing == "":
	case os.Getenv("BLUSTAR_INTEGRATION") == "required":
		return fmt.Errorf("%s", missing)
	default:
		return nil
	}
	for entry, of := range map[string]func(output) []byte{
		"blustar.xsd": func(o output) []byte { return o.blustar },
		"strict.xsd":  func(o output) []byte { return o.standard },
	} {
		documents := make([][]byte, 0, 2*len(outputs.all))
		for _, o := range outputs.all {
			documents = append(documents, o.input, of(o))
		}
		valid, broken, err := v.verdicts(entry, documents)
		if err != nil {
			return err
		}
		for i, o := range outputs.all {
			switch before, after := 2*i, 2*i+1; {
			case broken[after] && !broken[before]: // it may know fewer names and namespaces than we do
				return fmt.Errorf("%s: not well-formed: %s", o.test, documents[after])
			case (o.input == nil || valid[before]) && !valid[after]:
				return fmt.Errorf("%s: not valid by %s:\n%s\nread from\n%s", o.test, entry, documents[after], o.input)
			}
		}
	}
	return nil
}

// verdicts tells which documents are valid, and which are not well-formed, by their numbers. Those that are nil are left out.
func (v validator) verdicts(entry string, documents [][]byte) (valid, broken map[int]bool, err error) {
	dir, err := os.MkdirTemp(v.dir, "documents")
	if err != nil {
		return nil, nil, err
	}
	command := exec.Command("xargs", "-0", v.xmllint, "--nonet", "--noout", "--schema", filepath.Join(v.dir, entry))
	var names bytes.Buffer
	for i, data := range documents {
		if data == nil {
			continue
		}
		name := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return nil, nil, err
		}
		names.WriteString(name + "\x00")
	}
	command.Stdin = &names
	out, _ := command.CombinedOutput() // its status says that some are not valid
	valid, broken = map[int]bool{}, map[int]bool{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), dir+string(filepath.Separator))
		if !ok {
			continue
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			continue
		}
		i, err := strconv.Atoi(rest[:end])
		if err != nil {
			return nil, nil, err
		}
		switch rest = rest[end:]; {
		case rest == " validates":
			valid[i] = true
		case strings.Contains(rest, " parser error "), strings.Contains(rest, " namespace error "):
			broken[i] = true
		}
	}
	if len(valid) == 0 {
		return nil, nil, fmt.Errorf("nothing is valid: %.1000s", out)
	}
	return valid, broken, lines.Err()
}
