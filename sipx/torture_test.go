package sipx_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// The messages are those of RFC 4475, some shortened. Where this package
// decides otherwise than the RFC allows or asks, the table says why.
var torture = map[string]struct {
	status int                                  // of the error, 0 where the message is taken
	also   func(*testing.T, *sipx.Request)      // for requests that are taken
	res    func(t *testing.T, r *sipx.Response) // for responses that are taken
}{
	// §3.1.1, valid messages
	"wsinv": {also: func(t *testing.T, r *sipx.Request) {
		require.Equal(t, "sip:vivekg@chair-dnrc.example.com;unknownparam", r.URI.String())
		require.Equal(t, "1918181833n", r.To.Tag())
		require.Equal(t, "98asjd8", r.From.Tag())
		require.Equal(t, `J Rosenberg \"`, r.From.Display)
		require.EqualValues(t, 9, r.CSeq)
		require.Equal(t, "newfangled value continued newfangled value", r.Header.Get("NewFangledHeader"))
		require.Equal(t, ";;,,;;,;", r.Header.Get("unknownheaderwithunusualvalue"))
		var vias []string
		for v := range r.Header.Values("Via") {
			for one := range sipx.SplitList(v) {
				via, err := sipx.ParseVia(one)
				require.NoError(t, err)
				vias = append(vias, via.Transport+" "+via.Host+" "+via.Branch())
			}
		}
		require.Equal(t, []string{"udp 192.0.2.2 390skdjuw", "tcp spindle.example.com z9hG4bK9ikj8",
			"udp 192.168.255.111 z9hG4bK30239"}, vias)
		contact, err := sipx.ParseAddress(r.Header.Get("Contact"))
		require.NoError(t, err)
		require.Equal(t, `Quoted string ""`, contact.Display)
		q, _ := contact.Param("q")
		require.Equal(t, "0.33", q)
		require.Len(t, r.Body, 150)
	}},
	"intmeth": {also: func(t *testing.T, r *sipx.Request) {
		require.Equal(t, "BEL:\a NUL:\x00 DEL:\x7f", r.To.Display)
		require.Contains(t, r.To.String(), "BEL:\\\a NUL:\\\x00 DEL:\\\x7f", "escaped again when it is written")
	}},
	"esc01":   {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, "sips%3Auser%40example.com", r.URI.User) }},
	"escnull": {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, 2, r.Header.Count("Contact")) }},
	"esc02": {also: func(t *testing.T, r *sipx.Request) {
		require.Equal(t, "RE%47IST%45R", r.Method)
		require.Equal(t, "%Z%45", r.To.Display)
		require.Equal(t, 2, r.Header.Count("Contact"), "C%6Fntact is another name")
	}},
	"lwsdisp":    {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, "caller", r.From.Display) }},
	"longreq":    {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, 3, r.Header.Count("Via")) }},
	"dblreq":     {also: func(t *testing.T, r *sipx.Request) { require.Empty(t, r.Body) }},
	"semiuri":    {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, "user;par=u%40example.net", r.URI.User) }},
	"transports": {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, 5, r.Header.Count("Via")) }},
	"unreason":   {res: func(t *testing.T, r *sipx.Response) { require.Contains(t, r.Reason, "простое") }},
	"noreason":   {res: func(t *testing.T, r *sipx.Response) { require.Equal(t, 100, r.Status) }},
	// §3.1.2, invalid messages
	"badinv01": {status: 400},
	"clerr":    {status: 400},
	"ncl":      {status: 400},
	"scalar02": {status: 400},
	"scalarlg": {res: func(t *testing.T, r *sipx.Response) {
		require.Empty(t, r.Header.CSeqMethod(), "so that it matches nothing")
	}},
	"quotbal":    {status: 400},
	"ltgtruri":   {status: 400},
	"lwsruri":    {status: 400},
	"lwsstart":   {status: 400},
	"trws":       {status: 400},
	"escruri":    {status: 400},
	"baddate":    {}, // Date means nothing here
	"regbadct":   {}, // Contact is the handler's business
	"badaspec":   {}, // space in the brackets harms nobody
	"baddn":      {}, // nor does a comma in an unquoted name
	"badvers":    {status: 505},
	"mismatch01": {status: 400},
	"mismatch02": {status: 400},
	"bigcode":    {status: 400},
	// §3.2, transaction layer
	"badbranch": {also: func(t *testing.T, r *sipx.Request) {
		require.Contains(t, r.TransactionKey(), r.CallID, "matched as RFC 2543 does")
	}},
	// §3.3, application layer
	"insuf":   {status: 400},
	"unkscm":  {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, "nobodyknowsthisscheme", r.URI.Scheme) }},
	"novelsc": {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, "soap.beep", r.URI.Scheme) }},
	"unksm2":  {also: func(t *testing.T, r *sipx.Request) { require.Equal(t, "isbn", r.To.URI.Scheme) }},
	"bext01": {also: func(t *testing.T, r *sipx.Request) {
		require.True(t, r.Header.HasToken("require", "NothingSupportsThisEither"))
	}},
	"invut":    {},
	"regaut01": {},
	"multi01":  {status: 400},
	"mcl01":    {status: 400},
	"bcast":    {res: func(t *testing.T, r *sipx.Response) { require.Equal(t, 2, r.Header.Count("Via")) }},
	"zeromf":   {},
	"cparam01": {},
	"cparam02": {},
	"regescrt": {},
	"sdp01":    {},
	"inv2543":  {also: func(t *testing.T, r *sipx.Request) { require.Empty(t, r.From.Tag()) }},
}

// BSP-4-5
func TestTorture(t *testing.T) {
	files, err := filepath.Glob("testdata/torture/*.sip")
	require.NoError(t, err)
	require.Len(t, files, len(torture))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sip")
		t.Run(name, func(t *testing.T) {
			want, ok := torture[name]
			require.True(t, ok)
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			if strings.HasPrefix(string(data), "SIP/") {
				res, err := sipx.ParseResponse(data)
				if want.status != 0 {
					require.Error(t, err)
					return
				}
				require.NoError(t, err)
				want.res(t, res)
				return
			}
			req, err := sipx.ParseRequest(data)
			if err == nil {
				_, err = req.Arrived(sipx.Flow{Transport: "udp", Remote: netip.MustParseAddrPort("192.0.2.200:5060")})
			}
			if want.status != 0 {
				var e *sipx.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, want.status, e.Status, e.Reason)
				answer := sipx.AppendRejection(nil, data, err)
				res, err := sipx.ParseResponse(answer)
				require.NoError(t, err, "%s", answer)
				require.Equal(t, want.status, res.Status)
				return
			}
			require.NoError(t, err)
			if want.also != nil {
				want.also(t, req)
			}
		})
	}
}
