package sipx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// The SUBSCRIBE of §4.2 as printed, its Content-Length, which the print does not
// keep, made right.
const subscribe = "SUBSCRIBE sip:10.103.230.130:5060 SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bKae8cac0a52b206371;alias\r\n" +
	"Max-Forwards: 70\r\n" +
	"Route: <sip:2.2.2.2:5060;lr>\r\n" +
	"From: <sip:67251@astra.com:5060>;tag=1ec207a9de\r\n" +
	"To: <sip:rls@astra.com:5060>;tag=70f4bd96\r\n" +
	"Call-ID: 4b696543bb91478d\r\n" +
	"CSeq: 18468 SUBSCRIBE\r\n" +
	"Contact: <sip:67251@10.103.228.151:5060>\r\n" +
	"Event: presence\r\n" +
	"Expires: 7200\r\n" +
	"Content-Length: 4\r\n\r\nbody"

// BSP-4-1
func TestParseRequest(t *testing.T) {
	for name, text := range map[string]string{
		"as printed":      subscribe,
		"LF alone":        strings.ReplaceAll(subscribe, "\r\n", "\n"),
		"after line ends": "\r\n\r\n" + subscribe,
		"more than told":  subscribe + "and more",
		"no length":       strings.Replace(subscribe, "Content-Length: 4\r\n", "", 1),
		"folded": strings.Replace(strings.Replace(subscribe, "Via: SIP/2.0/UDP ", "Via: SIP/2.0/UDP\r\n\t", 1),
			"CSeq: 18468 ", "CSeq:   18468 \r\n  ", 1),
		"compact": strings.NewReplacer("Via:", "v:", "From:", "f :", "To:", "T:", "Call-ID:", "i:", "Contact:", "m:",
			"Event:", "o:", "Content-Length:", "L:").Replace(subscribe),
	} {
		r, err := sipx.ParseRequest([]byte(text))
		require.NoError(t, err, name)
		require.Equal(t, "SUBSCRIBE", r.Method)
		require.Equal(t, "sip:10.103.230.130:5060", r.URI.String())
		require.Equal(t, "<sip:67251@astra.com:5060>;tag=1ec207a9de", r.From.String())
		require.Equal(t, "70f4bd96", r.To.Tag())
		require.Equal(t, "4b696543bb91478d", r.CallID)
		require.EqualValues(t, 18468, r.CSeq)
		require.Equal(t, "<sip:67251@10.103.228.151:5060>", r.Header.Get("Contact"), name)
		require.Equal(t, "<sip:2.2.2.2:5060;lr>", r.Header.Get("Route"))
		require.Empty(t, r.Route)
		via, err := r.Header.TopVia()
		require.NoError(t, err)
		require.Equal(t, "z9hG4bKae8cac0a52b206371", via.Branch())
		require.True(t, strings.HasPrefix(string(r.Body), "body"), name)
	}
}

// BSP-2.10-4: the print breaks X-BSS-rauth; a real fold is taken.
func TestFoldedCredentials(t *testing.T) {
	r, err := sipx.ParseRequest([]byte(strings.Replace(subscribe, "Event:", "X-BSS-rauth: VUJdf4D4XJgP/K8m\r\n 7nlme21==\r\nEvent:", 1)))
	require.NoError(t, err)
	require.Equal(t, "VUJdf4D4XJgP/K8m 7nlme21==", r.Header.Get("X-BSS-rauth"))
}

func TestParseRequestErrors(t *testing.T) {
	change := func(from, to string) string { return strings.Replace(subscribe, from, to, 1) }
	for name, test := range map[string]struct {
		text   string
		status int
	}{
		"nothing":              {"", 400},
		"one line":             {"SUBSCRIBE sip:a SIP/2.0\r\n", 400},
		"no end":               {strings.TrimSuffix(subscribe, "\r\n\r\nbody"), 400},
		"no colon":             {change("Event: presence", "Event presence"), 400},
		"fold at once":         {change("Via:", " Via:"), 400},
		"bad name":             {change("Event:", "Ev ent:"), 400},
		"control":              {change("presence", "pres\x01ence"), 400},
		"control in line":      {change("SIP/2.0", "SIP/2.0\x00"), 400},
		"version":              {change("SIP/2.0", "SIP/3.0"), 505},
		"no version":           {change(" SIP/2.0", ""), 400},
		"method":               {change("SUBSCRIBE", "SUB/SCRIBE"), 400},
		"other method in CSeq": {change("18468 SUBSCRIBE", "18468 subscribe"), 400},
		"CSeq too large":       {change("18468", "2147483648"), 400},
		"two To":               {change("Event:", "t: <sip:a@b>\r\nEvent:"), 400},
		"no Call-ID":           {change("Call-ID", "X-Call-ID"), 400},
		"long Call-ID":         {change("4b696543bb91478d", strings.Repeat("x", 257)), 400},
		"space in Call-ID":     {change("4b696543bb91478d", "4b69 43bb91478d"), 400},
		"length not there":     {change("Content-Length: 4", "Content-Length: 5"), 400},
		"length no number":     {change("Content-Length: 4", "Content-Length: four"), 400},
		"two lengths":          {change("Event:", "l: 3\r\nEvent:"), 400},
		"too many fields":      {change("Event:", strings.Repeat("A: b\r\n", 300)+"Event:"), 513},
		"too long a field":     {change("presence", strings.Repeat("a", 17<<10)), 513},
		"too long by folds":    {change("presence", strings.Repeat(strings.Repeat("a", 1000)+"\r\n ", 20)), 513},
		"too many folds":       {change("Event:", "A: b"+strings.Repeat("\r\n ", 300)+"\r\nEvent:"), 513}, // each may copy the value
		"too long":             {subscribe + strings.Repeat("a", 1<<20), 513},
	} {
		_, err := sipx.ParseRequest([]byte(test.text))
		var e *sipx.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, test.status, e.Status, name)
		require.NotContains(t, e.Error(), "\n")
	}
}

func TestAppendRequest(t *testing.T) {
	r := sipxtest.NewRequest(subscribe)
	r.Header = sipx.Header{{"Event", "presence"}, {"Expires", "7200"}}
	r.Route = []string{"<sip:1.1.1.1;lr>", "<sip:2.2.2.2;lr>"}
	want := "SUBSCRIBE sip:10.103.230.130:5060 SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n" +
		"Route: <sip:1.1.1.1;lr>\r\n" +
		"Route: <sip:2.2.2.2;lr>\r\n" +
		"Max-Forwards: 70\r\n" +
		"From: <sip:67251@astra.com:5060>;tag=1ec207a9de\r\n" +
		"To: <sip:rls@astra.com:5060>;tag=70f4bd96\r\n" +
		"Call-ID: 4b696543bb91478d\r\n" +
		"CSeq: 18468 SUBSCRIBE\r\n" +
		"Event: presence\r\n" +
		"Expires: 7200\r\n" +
		"Content-Length: 4\r\n\r\nbody"
	require.Equal(t, want, string(r.AppendTo(nil, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")))
	r.Header.Add("Max-Forwards", "9")
	require.NotContains(t, string(r.AppendTo(nil, "")), "Via:")
	require.NotContains(t, string(r.AppendTo(nil, "")), "Max-Forwards: 70")
}

func TestAppendResponse(t *testing.T) {
	r, err := sipx.ParseRequest([]byte(subscribe))
	require.NoError(t, err)
	// The answer that §4.2 prints, but for the order of the last fields.
	require.Equal(t, "SIP/2.0 200 OK\r\n"+
		"Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bKae8cac0a52b206371;alias\r\n"+
		"From: <sip:67251@astra.com:5060>;tag=1ec207a9de\r\n"+
		"To: <sip:rls@astra.com:5060>;tag=70f4bd96\r\n"+
		"Call-ID: 4b696543bb91478d\r\n"+
		"CSeq: 18468 SUBSCRIBE\r\n"+
		"Contact: <sip:10.103.230.130:5060>\r\n"+
		"Expires: 300\r\n"+
		"Content-Length: 0\r\n\r\n",
		string(sipx.NewResponse(200, sipx.Field{Name: "Contact", Value: "<sip:10.103.230.130:5060>"},
			sipx.Field{Name: "Expires", Value: "300"}).AppendTo(nil, r)))
	r.To.Params = ""
	res := &sipx.Response{Status: 499, ToTag: "new", Body: []byte("x")}
	got, err := sipx.ParseResponse(res.AppendTo(nil, r))
	require.NoError(t, err)
	require.Equal(t, "new", got.ToTag)
	require.Equal(t, "Unknown", got.Reason)
	require.Equal(t, "SUBSCRIBE", got.Header.CSeqMethod())
	require.Equal(t, "x", string(got.Body))
}

// No value, whoever wrote it, adds a field or ends the header.
func TestNoInjection(t *testing.T) {
	const evil = "x\r\nEvil: 1\r\n\r\n"
	r := sipxtest.NewRequest(subscribe)
	r.CallID, r.Header, r.Body = evil, sipx.Header{{"Subject", evil}}, nil
	r.From.Display, r.To.Params, r.URI.User, r.Route = evil, ";tag="+evil, evil, []string{evil}
	text := r.AppendTo(nil, evil)
	require.Equal(t, 1, bytes.Count(text, []byte("\r\n\r\n")), "%s", text)
	require.NotContains(t, string(text), "\nEvil")
	res := &sipx.Response{Status: 200, Reason: evil, Header: sipx.Header{{"A", evil}}}
	text = res.AppendTo(nil, r)
	require.NotContains(t, string(text), "\nEvil")
}

func TestAppendRejection(t *testing.T) {
	bad := strings.Replace(subscribe, "From:", "F: <\r\nX:", 1)
	_, err := sipx.ParseRequest([]byte(bad))
	require.Error(t, err)
	answer := string(sipx.AppendRejection(nil, []byte(bad), err))
	require.Equal(t, "SIP/2.0 400 bad or missing From\r\n"+
		"Via: SIP/2.0/UDP 10.103.228.151;branch=z9hG4bKae8cac0a52b206371;alias\r\n"+
		"From: <\r\n"+
		"To: <sip:rls@astra.com:5060>;tag=70f4bd96\r\n"+
		"Call-ID: 4b696543bb91478d\r\n"+
		"CSeq: 18468 SUBSCRIBE\r\n"+
		"Content-Length: 0\r\n\r\n", answer)
	require.Contains(t, string(sipx.AppendRejection(nil, []byte(bad), errors.New("other"))), "SIP/2.0 400 Bad Request")
	for _, text := range []string{"", "x", "SIP/2.0 200 OK\r\nVia: x\r\n\r\n", "ACK sip:a SIP/2.0\r\nVia: x\r\n\r\n",
		"OPTIONS sip:a SIP/2.0\r\n\r\n", "OPTIONS\r\nVia: x\r\n\r\n"} {
		require.Empty(t, sipx.AppendRejection(nil, []byte(text), err), text)
	}
}

func TestParseResponseErrors(t *testing.T) {
	for _, text := range []string{"", "SIP/2.0\r\n\r\n", "SIP/2.0 OK\r\n\r\n", "SIP/2.0 99 x\r\n\r\n", "SIP/2.0 700 x\r\n\r\n",
		"SIP/1.0 200 OK\r\n\r\n", "SIP/2.0 200 OK\r\nContent-Length: 1\r\n\r\n"} {
		_, err := sipx.ParseResponse([]byte(text))
		require.Error(t, err, text)
	}
}

func TestError(t *testing.T) {
	err := fmt.Errorf("handling: %w", sipx.Errorf(423, "at least %d", 60))
	e, ok := errors.AsType[*sipx.Error](err)
	require.True(t, ok)
	require.Equal(t, "sipx: 423 at least 60", e.Error())
	require.Equal(t, "at least 60", e.Response().ReasonPhrase())
	require.Equal(t, "Interval Too Brief", sipx.NewResponse(423).ReasonPhrase())
}

func TestDo(t *testing.T) {
	var null sipxtest.NullSender
	res, err := sipx.Do(t.Context(), &null, sipxtest.NewRequest(subscribe))
	require.NoError(t, err)
	require.Equal(t, 200, res.Status)
	require.EqualValues(t, 1, null.Sent())

	ctx, cancel := context.WithCancel(t.Context())
	_, err = sipx.Do(ctx, deaf(cancel), nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = sipx.Do(ctx, &null, sipxtest.NewRequest(subscribe))
	require.ErrorIs(t, err, context.Canceled, "one that had ended before")
	require.EqualValues(t, 1, null.Sent(), "nothing is sent then")
}

// deaf never reports an outcome; it ends the context of who waits for one.
type deaf context.CancelFunc

func (deaf) Contact(sipx.Flow) string { return "" }

func (cancel deaf) Send(*sipx.Request, sipx.ResponseHandler) { cancel() }

func TestFlow(t *testing.T) {
	for transport, want := range map[string][2]bool{"udp": {}, "": {}, "tcp": {true, false}, "tls": {true, true},
		"ws": {true, false}, "wss": {true, true}} {
		f := sipx.Flow{Transport: transport}
		require.Equal(t, want, [2]bool{f.Reliable(), f.Secure()}, transport)
	}
	require.Equal(t, "tcp:invalid AddrPort#7", sipx.Flow{Transport: "tcp", Conn: 7}.String())
}
