package pidf

import (
	"strconv"
)

// ListInfo is a document of resource list meta-information (RLMI, RFC 4662 §5.1): which resources a list
// subscription is about, and which part of the NOTIFY holds the state of each.
type ListInfo struct {
	URI       string // of the list
	Version   uint32 // rises by one with each NOTIFY of a subscription
	FullState bool   // all resources are here, with their state
	CID       string // Content-ID of a part that holds the state of the list itself; empty where absent
	Names     []Note // texts to show for the list
	Resources []Resource
	Extra

	// Warnings says what the decoder tolerated. Encoding ignores it.
	Warnings []Warning

	prolog, epilog []Extension
}

// Resource is one member of a list.
type Resource struct {
	URI       string
	Names     []Note
	Instances []Instance
	Extra
}

// InstanceState is the state of the subscription to an instance (RFC 4662 §5.5).
type InstanceState string

// The values that RFC 4662 defines.
const (
	InstanceActive     InstanceState = "active"
	InstancePending    InstanceState = "pending"
	InstanceTerminated InstanceState = "terminated"
)

// Instance is one source of a resource's state. Most resources have one.
type Instance struct {
	ID     string // unique in the resource
	State  InstanceState
	Reason string // why it is terminated, as in Subscription-State; empty where absent
	CID    string // Content-ID of the part that holds the state, without angle brackets; empty where there is none
	Extra
}

// DecodeListInfo reads an RLMI document with the default limits. See [Decoder.Decode] for what it tolerates and refuses.
func DecodeListInfo(data []byte) (*ListInfo, error) { return Decoder{}.DecodeListInfo(data) }

// DecodeListInfo reads an RLMI document.
func (c Decoder) DecodeListInfo(data []byte) (*ListInfo, error) {
	d := newDecoder(c.Limits)
	l := new(ListInfo)
	if !d.load(data) {
		return nil, d.err
	}
	var ok bool
	if l.prolog, ok = d.root("list", idRLMI, NSRLMI); !ok {
		return nil, d.err
	}
	l.URI, l.CID = trim(d.takeString("uri")), d.takeString("cid")
	l.Version = uint32(d.version(32))
	l.FullState = d.fullState()
	l.Attrs = d.takeRest()
	n := 0
	for d.child(&l.Extra, n) {
		switch {
		case d.name.local == "name" && d.is(idRLMI) && d.notes(&l.Names):
			n++
		case d.err == nil && d.name.local == "resource" && d.is(idRLMI):
			l.Resources = append(l.Resources, Resource{})
			d.resource(&l.Resources[len(l.Resources)-1])
			n++
		case d.err == nil:
			d.keep(&l.Extra, n)
		}
	}
	if l.epilog = d.finish(); d.err != nil {
		return nil, d.err
	}
	l.Warnings = d.warnings
	return l, nil
}

func (d *decoder) resource(r *Resource) {
	r.URI = trim(d.takeString("uri"))
	r.Attrs = d.takeRest()
	n := 0
	for d.child(&r.Extra, n) {
		switch {
		case d.name.local == "name" && d.is(idRLMI) && d.notes(&r.Names):
			n++
		case d.err == nil && d.name.local == "instance" && d.is(idRLMI):
			r.Instances = append(r.Instances, Instance{})
			d.instance(&r.Instances[len(r.Instances)-1])
			n++
		case d.err == nil:
			d.keep(&r.Extra, n)
		}
	}
}

func (d *decoder) instance(i *Instance) {
	i.ID, i.Reason, i.CID = d.takeString("id"), d.takeString("reason"), d.takeString("cid")
	i.State = InstanceState(d.token(d.from, "state", d.takeString("state"), instanceStates))
	i.Attrs = d.takeRest()
	for d.child(&i.Extra, 0) {
		d.keep(&i.Extra, 0)
	}
}

// takeUint returns a number; one that cannot be read stays an unknown attribute.
func (d *decoder) takeUint(local string, bits int) (uint64, bool) {
	for i := range d.attrs {
		if a := &d.attrs[i]; a.prefix == "" && a.local == local {
			v, err := strconv.ParseUint(trim(value(a)), 10, bits)
			a.taken = err == nil
			return v, a.taken
		}
	}
	return 0, false
}

// version returns the number of a document, 0 with a warning where there is none.
func (d *decoder) version(bits int) uint64 {
	v, ok := d.takeUint("version", bits)
	if !ok {
		d.take("version")
		d.warn("no version")
	}
	return v
}

// fullState returns the xs:boolean of that name, false with a warning where it is none.
func (d *decoder) fullState() bool {
	switch trim(d.takeString("fullState")) {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	d.warn("no fullState")
	return false
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (l *ListInfo) AppendXML(dst []byte) []byte {
	w := writer{b: dst}
	w.prolog(l.prolog)
	w.raw(`<list xmlns="` + NSRLMI + `"`)
	w.attr("uri", l.URI)
	w.attr("version", strconv.FormatUint(uint64(l.Version), 10))
	w.attr("fullState", strconv.FormatBool(l.FullState))
	w.optional("cid", l.CID)
	w.attrs(l.Attrs, false)
	w.raw(`>`)
	n := len(l.Names) + len(l.Resources)
	e := extras{left: l.placed(NSRLMI, n, n)}
	w.notes(&e, "name", l.Names)
	for i := range l.Resources {
		w.next(&e)
		w.resource(&l.Resources[i])
	}
	w.rest(&e)
	w.raw(`</list>`)
	w.epilog(l.epilog)
	return w.b
}

func (w *writer) resource(r *Resource) {
	w.raw(`<resource`)
	w.attr("uri", r.URI)
	w.attrs(r.Attrs, false)
	w.raw(`>`)
	n := len(r.Names) + len(r.Instances)
	e := extras{left: r.placed(NSRLMI, n, n)}
	w.notes(&e, "name", r.Names)
	for i := range r.Instances {
		w.next(&e)
		w.instance(&r.Instances[i])
	}
	w.rest(&e)
	w.raw(`</resource>`)
}

func (w *writer) instance(i *Instance) {
	w.raw(`<instance`)
	w.attr("id", i.ID)
	w.attr("state", string(i.State))
	w.optional("reason", i.Reason)
	w.optional("cid", i.CID)
	w.attrs(i.Attrs, false)
	if len(i.Extensions) == 0 {
		w.raw(`/>`)
		return
	}
	w.raw(`>`)
	w.rest(&extras{left: i.placed(NSRLMI, 0, 0)})
	w.raw(`</instance>`)
}
