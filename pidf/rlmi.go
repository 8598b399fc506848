package pidf

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

// Instance is one source of a resource's state. Most resources have one.
type Instance struct {
	ID     string // unique in the resource
	State  string // of the subscription to it (RFC 4662 §5.5): "active", "pending" or "terminated"
	Reason string // why it is terminated, as in Subscription-State; empty where absent
	CID    string // Content-ID of the part that holds the state, without angle brackets; empty where there is none
	Extra
}

// DecodeListInfo reads an RLMI document. See [Decoder.Decode] for what it tolerates and refuses.
func (c Decoder) DecodeListInfo(data []byte) (*ListInfo, error) {
	l := new(ListInfo)
	warnings, err := c.document(data, idRLMI, "list", &l.Extra, &l.prolog, &l.epilog, l.Fields)
	if err != nil {
		return nil, err
	}
	l.Warnings = warnings
	return l, nil
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (l *ListInfo) AppendXML(dst []byte) []byte {
	w := newWriter(dst, BluStarDialect)
	w.document(idRLMI, "list", &l.Extra, l.prolog, l.epilog, l.Fields)
	return w.done()
}

func (l *ListInfo) Fields(f *Fields) {
	f.Attr("uri", &l.URI, Need)
	f.Attr("version", &l.Version, Need)
	f.Attr("fullState", &l.FullState, Need)
	f.Attr("cid", &l.CID, Raw)
	f.Notes("name", &l.Names)
	Many(f, "resource", &l.Resources)
}

func (r *Resource) Fields(f *Fields) {
	f.Attr("uri", &r.URI, Need)
	f.Notes("name", &r.Names)
	Many(f, "instance", &r.Instances)
}

func (i *Instance) Fields(f *Fields) {
	f.Attr("id", &i.ID, Need|Raw)
	f.Attr("state", &i.State, Need, instanceStates)
	f.Attr("reason", &i.Reason, Raw)
	f.Attr("cid", &i.CID, Raw)
}
