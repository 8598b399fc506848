package blackbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"
)

// call makes one call of the control API.
func (s *server) call(method, path, body string, header ...string) (int, http.Header, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.http+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, resp.Header, string(data)
}

// put makes a call that must be answered 204.
func (s *server) put(path, body string) {
	s.t.Helper()
	code, _, answer := s.call("PUT", path, body)
	require.Equal(s.t, 204, code, answer)
	require.Empty(s.t, answer)
}

func (s *server) line(dn, state string) {
	s.t.Helper()
	s.put("/v1/lines/"+dn, `{"state":"`+state+`"}`)
}

// object is the JSON object that a GET answers.
func (s *server) object(path string) map[string]any {
	s.t.Helper()
	code, header, answer := s.call("GET", path, "", "Accept", "application/json")
	require.Equal(s.t, 200, code, answer)
	require.Contains(s.t, header.Get("Content-Type"), "application/json")
	var v map[string]any
	require.NoError(s.t, json.Unmarshal([]byte(answer), &v), answer)
	return v
}

// status is the consolidated status by the control API.
func (s *server) status(address string) string {
	s.t.Helper()
	status, _ := s.object("/v1/presence/" + address)["status"].(string)
	return status
}
