package strictjson_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/strictjson"
)

type document struct {
	Name  string    `json:"name"`
	Count int       `json:"count"`
	At    time.Time `json:"at"`
	List  []item    `json:"list"`
	Sub   *item     `json:"sub,omitempty"`

	Map map[string][]string `json:"map"`
}

type item struct {
	On bool `json:"on"`
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		`{"name":"a","count":3,"list":[{"on":true}],"sub":{"on":true},"map":{"a":["b"],"":[]}}`: "",
		`{"name":"a"`:                            "no complete JSON value",
		"{\n\"name\":\n}":                        "line 3: ",
		`{} {}`:                                  "text after the end",
		`[]`:                                     "want an object",
		`{"Name":"a"}`:                           "Name: unknown key",
		`{"":1}`:                                 `"": unknown key`,
		`{"name":"a","name":"b"}`:                "name: is there twice",
		`{"name":null}`:                          "name: null: want a string",
		`{"count":1.5}`:                          "count: want a whole number",
		`{"at":"today"}`:                         "at: want a time such as",
		`{"list":{}}`:                            "list: want a list",
		`{"list":[{},{"on":"yes"}]}`:             "list[1].on: want true or false",
		`{"list":[{"off":true}]}`:                "list[0].off: unknown key",
		`{"sub":{"on":1}}`:                       "sub.on: want true or false",
		`{"map":[]}`:                             "map: want an object",
		`{"map":{"a":"b"}}`:                      "map.a: want a list",
		`{"map":{"a":["b",1]}}`:                  "map.a[1]: want a string",
		`{"map":{"a":[],"a":[]}}`:                "map.a: is there twice",
		`{"` + strings.Repeat("x", 500) + `":1}`: strings.Repeat("x", 100) + "…: unknown key",
	} {
		v := document{Name: "before"}
		err := strictjson.Decode([]byte(text), &v)
		if want == "" {
			require.NoError(t, err)
			require.True(t, v.List[0].On && v.Sub.On)
			require.Equal(t, map[string][]string{"a": {"b"}, "": {}}, v.Map)
			continue
		}
		require.ErrorAs(t, err, new(*strictjson.Error), text)
		require.True(t, strings.HasPrefix(err.Error(), want), "%s: %v, want %s", text, err, want)
	}
	v := document{Name: "before"}
	require.NoError(t, strictjson.Decode([]byte(`{"count":1}`), &v))
	require.Equal(t, document{Name: "before", Count: 1}, v)
}

func TestRead(t *testing.T) {
	var v document
	require.NoError(t, strictjson.Read(strings.NewReader(`{"count":1}`), &v))
	require.Equal(t, 1, v.Count)
	broken := errors.New("broken")
	require.ErrorIs(t, strictjson.Read(iotest.ErrReader(broken), &v), broken)
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "a??b", strictjson.Printable("a\r\nb"))
}
