package presence_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// FuzzServe gives a server whatever parses as a request (BSP-4-5): it never
// panics, answers once, and with a final status; and the dialog that a SUBSCRIBE
// may have opened ends with the server.
func FuzzServe(f *testing.F) {
	files, err := filepath.Glob("testdata/printed/*.sip")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	add := func(req *sipx.Request, header sipx.Header) {
		req.Header = slices.DeleteFunc(slices.Concat(req.Header, header), func(f sipx.Field) bool { return f.Name == "Content-Length" })
		f.Add(req.AppendTo(nil, ""))
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		req := sipxtest.NewRequest(string(data))
		add(req, nil)
		req.To.Params = "" // as printed they are refreshes of what is not there
		add(req, nil)
		add(req, sipx.Header{{Name: "Supported", Value: "eventlist"}})
		req.Header = slices.DeleteFunc(req.Header, func(f sipx.Field) bool { return f.Name == "User-Agent" || f.Name == "X-BSS-rauth" })
		add(req, nil)
		add(req, sipx.Header{{Name: "Record-Route", Value: "<sip:192.0.2.9;lr>"}})
	}
	entries := append([]directory.Entry{
		{ID: "hanks", SIP: []string{"tom.hanks@astra.com", "67251@astra.com"}, Tel: []string{"4711"}, Lines: []string{"2719"}},
	}, users...)
	f.Fuzz(func(t *testing.T, data []byte) {
		req, err := sipx.ParseRequest(data)
		if err != nil {
			return
		}
		req.Flow = udp("192.0.2.7:5060")
		dir, err := directory.NewMemory(entries)
		require.NoError(t, err)
		sender := &sipxtest.NullSender{Render: true}
		server, err := presence.New(presence.Config{Sender: sender, Directory: dir, Domains: []string{"astra.com"}})
		require.NoError(t, err)
		for range 2 { // the second meets what the first left
			rec := &sipxtest.Recorder{}
			server.ServeSIP(t.Context(), rec, req)
			require.Equal(t, 1, rec.Calls())
			res := rec.Response()
			require.GreaterOrEqual(t, res.Status, 200)
			require.NotEqual(t, 500, res.Status, "%s", res.Reason)
			_, err := sipx.ParseResponse(res.AppendTo(nil, req))
			require.NoError(t, err)
			if res.ToTag != "" {
				req.To = req.To.WithTag(res.ToTag)
			}
			req.CSeq++
		}
		require.NoError(t, server.Shutdown(t.Context()))
		require.Zero(t, server.Stats().Subscriptions)
		require.Zero(t, server.Stats().Watches)
	})
}
