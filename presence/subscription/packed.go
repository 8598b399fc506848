package subscription

import (
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"github.com/openblustar/blustar/sipx"
)

// A process may have hundreds of thousands of dialogs. Packed, their addresses take a third of
// the memory.

// packedURI is a URI in one string, with the places where its parts end.
type packedURI struct {
	text   string
	user   uint16 // ends of the parts of text
	host   uint16
	params uint16
	port   uint16
	scheme unique.Handle[string]
}

func packURI(b *strings.Builder, u sipx.URI) packedURI {
	user := len(u.User)
	host := user + len(u.Host)
	return packedURI{
		text: join(b, u.User, u.Host, u.Params, u.Headers),
		user: uint16(user), host: uint16(host), params: uint16(host + len(u.Params)),
		port: uint16(u.Port), scheme: unique.Make(u.Scheme),
	}
}

// join writes parts to b, and returns them as one part of its text.
func join(b *strings.Builder, parts ...string) string {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	b.Grow(n)
	for _, part := range parts {
		b.WriteString(part)
	}
	return b.String()[b.Len()-n:]
}

// URI returns the URI again.
func (p packedURI) URI() sipx.URI {
	return sipx.URI{Scheme: p.scheme.Value(), User: p.text[:p.user], Host: p.text[p.user:p.host], Port: int(p.port),
		Params: p.text[p.host:p.params], Headers: p.text[p.params:]}
}

// maxURI is the longest URI that is packed, in bytes.
const maxURI = 1 << 14

// end is one end of a dialog: an address, and behind it the parameter with the tag.
type end struct {
	text packedURI // of both
	uri  uint16    // where the URI ends
}

const tagParam = ";tag="

func packEnd(b *strings.Builder, u sipx.URI, tag string) end {
	p := packURI(b, u)
	n := len(p.text)
	param := join(b, tagParam, tag)
	p.text = b.String()[b.Len()-n-len(param):]
	return end{p, uint16(n)}
}

func (e end) URI() sipx.URI {
	p := e.text
	p.text = p.text[:e.uri]
	return p.URI()
}

func (e end) params() string        { return e.text.text[e.uri:] }
func (e end) tag() string           { return e.params()[len(tagParam):] }
func (e end) address() sipx.Address { return sipx.Address{URI: e.URI(), Params: e.params()} }

func size(u sipx.URI) int { return len(u.User) + len(u.Host) + len(u.Params) + len(u.Headers) }

// common is what many dialogs have in common. They share one copy.
type common struct {
	pack    *Package
	style   *Style
	event   string // the field value, with the id of the subscription
	contact string // our own, as a field value
}

var rfcStyle Style

// packedFlow is a flow. It shares one copy of what is the same in many flows.
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

const activeExpires = "active;expires="

// activeTexts keeps the text of Subscription-State for each number of seconds, once it has been
// written.
type activeTexts []atomic.Pointer[string]

func (t activeTexts) text(left time.Duration) string {
	n := max(0, int(left.Round(time.Second)/time.Second))
	if n < len(t) {
		if text := t[n].Load(); text != nil {
			return *text
		}
	}
	text := activeExpires + strconv.Itoa(n)
	if n < len(t) {
		t[n].Store(&text)
	}
	return text
}
