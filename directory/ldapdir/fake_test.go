package ldapdir_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/directory/ldapdir"
)

// A fakeServer is for what real servers do not do on demand: answer at a certain
// time, go away for an hour, send garbage. It needs no network, so that tests run
// under synctest.
type fakeServer struct {
	users   []*ldap.Entry
	refuses atomic.Bool // connections
	hangs   atomic.Bool // does not answer searches
	dials   atomic.Int64
	binds   atomic.Int64
	queries atomic.Int64
	// password is what it wants; any if empty.
	password string
	// gate, if set, is received from before each answer to a search.
	gate chan struct{}
	// raw, if set, is what it sends instead of an answer to a search.
	raw func(c net.Conn, id int64)

	wg sync.WaitGroup
}

func newFakeServer() *fakeServer {
	return &fakeServer{users: []*ldap.Entry{
		ldap.NewEntry("uid=alice,dc=x", map[string][]string{"uid": {"alice"}, "entryUUID": {"a1"}, "mail": {"alice@example.test"}, "telephoneNumber": {"1"}}),
		ldap.NewEntry("uid=bob,dc=x", map[string][]string{"uid": {"bob"}, "entryUUID": {"b2"}, "mail": {"bob@example.test"}, "telephoneNumber": {"2"}}),
	}}
}

func (f *fakeServer) config() ldapdir.Config {
	return ldapdir.Config{
		Server: ldapdir.Server{URLs: []string{"ldap://fake"}, Dial: f.dial},
		BindDN: "uid=svc,dc=x", BindPassword: ldapdir.Password("canary-service"),
		BaseDN: "dc=x", SIPAttributes: []string{"mail"}, TelAttributes: []string{"telephoneNumber"},
	}
}

func (f *fakeServer) dial(context.Context, string, string) (net.Conn, error) {
	f.dials.Add(1)
	if f.refuses.Load() {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	f.wg.Go(func() { f.serve(server) })
	return client, nil
}

func (f *fakeServer) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			f.binds.Add(1)
			code := ldap.LDAPResultSuccess
			if f.password != "" && op.Children[2].Data.String() != f.password {
				code = ldap.LDAPResultInvalidCredentials
			}
			send(c, id, result(ldap.ApplicationBindResponse, code))
		case ldap.ApplicationSearchRequest:
			f.queries.Add(1)
			if f.hangs.Load() {
				continue
			}
			if f.gate != nil {
				<-f.gate
			}
			if f.raw != nil {
				f.raw(c, id)
				continue
			}
			filter, err := ldap.DecompileFilter(op.Children[6])
			if err != nil {
				return
			}
			for _, e := range f.users {
				for _, attr := range []string{"mail", "telephoneNumber", "uid"} {
					if strings.Contains(strings.ToLower(filter), strings.ToLower("="+e.GetAttributeValue(attr)+")")) {
						send(c, id, searchEntry(e))
						break
					}
				}
			}
			send(c, id, result(ldap.ApplicationSearchResultDone, ldap.LDAPResultSuccess))
		}
	}
}

func send(c net.Conn, id int64, op *ber.Packet) error {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	_, err := c.Write(p.Bytes())
	return err
}

func result(tag ber.Tag, code int) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(""))
	return p
}

func searchEntry(e *ldap.Entry) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(e.DN))
	attrs := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, a := range e.Attributes {
		attr := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		attr.AppendChild(octets(a.Name))
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a.Values {
			values.AppendChild(octets(v))
		}
		attr.AppendChild(values)
		attrs.AppendChild(attr)
	}
	p.AppendChild(attrs)
	return p
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}
