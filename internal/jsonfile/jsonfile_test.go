package jsonfile_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/jsonfile"
)

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		` {"names":["a"]} ` + "\n":      "",
		"\n{\"names\":\n[\"a\",]}":      "line 3: invalid character ']'",
		"{\"names\":[\"a\nb\"]}":        "line 1: invalid character '\\n'",
		"\n\n{\"names\":\n[\"a\",\n7]}": "line 5: json: cannot unmarshal number",
		"[\n]":                          "line 1: json: cannot unmarshal array",
		"{\n\"nmes\":[]}":               `unknown field "nmes"`,
		"{} {}":                         "text after the end",
		"{}}":                           "text after the end",
		"{":                             "unexpected EOF",
		"":                              "EOF",
	} {
		var v struct {
			Names []string `json:"names"`
		}
		err := jsonfile.Decode(strings.NewReader(text), &v)
		if want == "" {
			require.NoError(t, err)
			require.Equal(t, []string{"a"}, v.Names)
			continue
		}
		require.Error(t, err, "%q", text)
		require.True(t, strings.HasPrefix(err.Error(), want) || strings.HasPrefix(err.Error(), "json: "+want), "%q: %v, want %q", text, err, want)
	}
	broken := errors.New("broken")
	require.ErrorIs(t, jsonfile.Decode(iotest.ErrReader(broken), new(int)), broken)
}
