package subscription

import (
	"net/netip"
	"unique"

	"github.com/openblustar/blustar/sipx"
)

// What a dialog keeps of addresses takes a third of what they take otherwise: there may
// be hundreds of thousands.

// packedURI is a URI in one string with the places where its parts end.
type packedURI struct {
	text   string
	user   uint16 // ends of the parts of text
	host   uint16
	params uint16
	port   uint16
	scheme unique.Handle[string]
}

func packURI(u sipx.URI) packedURI {
	user := len(u.User)
	host := user + len(u.Host)
	return packedURI{
		text: u.User + u.Host + u.Params + u.Headers,
		user: uint16(user), host: uint16(host), params: uint16(host + len(u.Params)),
		port: uint16(u.Port), scheme: unique.Make(u.Scheme),
	}
}

// URI returns the URI again.
func (p packedURI) URI() sipx.URI {
	return sipx.URI{Scheme: p.scheme.Value(), User: p.text[:p.user], Host: p.text[p.user:p.host], Port: int(p.port),
		Params: p.text[p.host:p.params], Headers: p.text[p.params:]}
}

// maxURI is the longest URI that is packed, in bytes.
const maxURI = 1 << 14

// end is one end of a dialog: an address and its tag.
type end struct {
	uri    packedURI
	params string // ";tag=" and the tag
}

const tagParam = ";tag="

func packEnd(u sipx.URI, tag string) end { return end{packURI(u), tagParam + tag} }

func (e end) tag() string           { return e.params[len(tagParam):] }
func (e end) address() sipx.Address { return sipx.Address{URI: e.uri.URI(), Params: e.params} }

// packedFlow is a flow; of what it has in common with others there is one copy.
type packedFlow struct {
	common unique.Handle[flowCommon]
	remote netip.AddrPort
	conn   uint64
}

type flowCommon struct {
	transport string
	local     netip.AddrPort
}

func packFlow(f sipx.Flow) packedFlow {
	return packedFlow{unique.Make(flowCommon{f.Transport, f.Local}), f.Remote, f.Conn}
}

// Flow returns the flow again.
func (p packedFlow) Flow() sipx.Flow {
	c := p.common.Value()
	return sipx.Flow{Transport: c.transport, Local: c.local, Remote: p.remote, Conn: p.conn}
}
