package presence

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

var (
	sampleTime        = time.Unix(1_700_000_000, 123_456_789)
	samplePublication = publicationRecord{Contribution: publication.Contribution{
		Presentity: "tom", Address: "sip:tom@example.com", ETag: "abc", Rule: publication.Separate, Owner: "192.0.2.7", Received: sampleTime,
		Expires: sampleTime.Add(time.Hour), Number: 7, Status: "busy", Note: "näh", Timestamp: sampleTime, Body: []byte("<presence/>"), CallID: "x", CSeq: 1 << 31, IfMatch: "y",
	}, clients: []publisher{{clientRef{"tom sip:tom@192.0.2.7", 1}, 1 << 60}, {}}}
	sampleClient = clientRecord{
		key: "tom sip:tom@192.0.2.7", user: "tom", id: auth.Identity{Account: "tom", ID: "\x00\xff", DN: "cn=tom", AMCC: true},
		userAgent: "x", since: sampleTime, services: consolidation.Services{Video: true}, spoken: true, generation: 2,
	}
	sampleDialog = dialogRecord{
		Record: subscription.Record{
			Serial: 1 << 40, Tag: "a", RemoteTag: "b", CallID: "c", Local: sipx.URI{Scheme: "tel", User: "200"},
			Remote: sipx.URI{Scheme: "sip", User: "tom", Host: "example.com", Port: 5070, Params: ";x=y"}, Routes: []string{"<sip:p;lr>"},
			Event: "presence;id=1", Coding: "gzip", List: true, Entities: []string{"sip:ann@example.com", "tel:200"},
			Account: "tom", Source: netip.MustParsePrefix("2001:db8::/64"), Turn: sampleTurn.Turn,
		},
		dialect: "BluStar", client: sampleClient.key, own: true, generation: -1, run: 3,
	}
	sampleTurn = turnRecord{run: 3, Turn: subscription.Turn{
		Target: sipx.URI{Scheme: "sip", Host: "192.0.2.7"}, Expires: sampleTime, RemoteSeq: 1<<32 - 1, LocalSeq: 9, Digests: []uint64{0, 1<<64 - 1},
		Flow: sipx.Flow{Transport: "udp", Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("[2001:db8::1]:5060")},
	}}
)

// written returns a record as it is stored.
func written[V any, R flatRecord[V]](v V) []byte {
	var f flat
	R(&v).fields(&f)
	return f.record()
}

// again reads what was written, and what an earlier and a later version would have
// written: fewer fields, and more.
func again[V any, R flatRecord[V]](t *testing.T, want V) {
	data := written[V, R](want)
	got, err := readFlat[V, R](data)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = readFlat[V, R](append(data[:len(data):len(data)], "more"...))
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = readFlat[V, R](nil)
	require.NoError(t, err)
}

// Records are read as they were written (BSX-11).
func TestRecords(t *testing.T) {
	again(t, samplePublication)
	again(t, sampleClient)
	again(t, sampleDialog)
	again(t, sampleTurn)
	_, err := readFlat[dialogRecord]([]byte{1, 200, 'a'})
	require.ErrorIs(t, err, errFlat)
}

// FuzzRecords shows that no value harms, and that what can be read is written again as
// something that reads the same.
func FuzzRecords(f *testing.F) {
	f.Add(written(samplePublication))
	f.Add(written(sampleClient))
	f.Add(written(sampleDialog))
	f.Add(written(sampleTurn))
	f.Add(written(bundleRecord{{1, sampleTurn}, {1 << 40, sampleTurn}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		stable[publicationRecord](t, data)
		stable[clientRecord](t, data)
		stable[dialogRecord](t, data)
		stable[turnRecord](t, data)
		stable[bundleRecord](t, data)
	})
}

func stable[V any, R flatRecord[V]](t *testing.T, data []byte) {
	v, err := readFlat[V, R](data)
	if err != nil {
		return
	}
	first := written[V, R](v)
	v, err = readFlat[V, R](first)
	require.NoError(t, err)
	require.Equal(t, first, written[V, R](v))
}

// Shift returns a record as a process whose clock is ahead by that much would have written it:
// to one that reads it the clock was turned back.
func Shift(t *testing.T, r Record, by time.Duration) Write {
	later := func(at *time.Time) {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	w := Write{Kind: r.Kind, Key: r.Key, Value: r.Value, Expires: r.Expires}
	later(&w.Expires)
	switch r.Kind {
	case kindPublication:
		w.Value = shifted(t, r, func(v *publicationRecord) {
			later(&v.Received)
			later(&v.Expires)
			later(&v.Timestamp)
			for i := range v.clients {
				v.clients[i].since += int64(by)
				v.clients[i].until += int64(by)
			}
		})
	case kindClient:
		w.Value = shifted(t, r, func(v *clientRecord) {
			later(&v.since)
			later(&v.published)
			w.Key = serialKey(uint64(v.since.UnixNano())) + r.Key[8:]
		})
	case kindDialog:
		w.Value = shifted(t, r, func(v *dialogRecord) { later(&v.Expires) })
	case kindTurn:
		w.Value = shifted(t, r, func(v *bundleRecord) {
			for i := range *v {
				later(&(*v)[i].Expires)
			}
		})
	case kindLine:
		var v sourceRecord[LineState]
		require.NoError(t, json.Unmarshal(r.Value, &v))
		later(&v.Received)
		later(&v.Changed)
		later(&v.Expires)
		w.Value = asJSON(v)
	}
	return w
}

func shifted[V any, R flatRecord[V]](t *testing.T, r Record, f func(*V)) []byte {
	v, err := readFlat[V, R](r.Value)
	require.NoError(t, err)
	f(&v)
	return written[V, R](v)
}
