package pidf

// Namespaces of the documents that this package reads and writes, and of the extensions that callers look up most often.
const (
	NSPIDF          = "urn:ietf:params:xml:ns:pidf"              // RFC 3863
	NSDataModel     = "urn:ietf:params:xml:ns:pidf:data-model"   // RFC 4479
	NSRPID          = "urn:ietf:params:xml:ns:pidf:rpid"         // RFC 4480
	NSTimedStatus   = "urn:ietf:params:xml:ns:pidf:timed-status" // RFC 4481, kept as extensions
	NSCIPID         = "urn:ietf:params:xml:ns:pidf:cipid"        // RFC 4482, kept as extensions
	NSCaps          = "urn:ietf:params:xml:ns:pidf:caps"         // RFC 5196, kept as extensions
	NSLocationType  = "urn:ietf:params:xml:ns:location-type"     // RFC 4589, the values of place-type, kept as extensions
	NSPartial       = "urn:ietf:params:xml:ns:pidf-diff"         // RFC 5262, recognized and refused
	NSResourceLists = "urn:ietf:params:xml:ns:resource-lists"    // RFC 4826
	NSRLMI          = "urn:ietf:params:xml:ns:rlmi"              // RFC 4662
	NSWatcherInfo   = "urn:ietf:params:xml:ns:watcherinfo"       // RFC 3858
	NSXML           = "http://www.w3.org/XML/1998/namespace"     // the prefix xml, always bound

	// NSBluStar is the namespace of aa.xsd, as §3 of the interface description prints it.
	NSBluStar = "http://www.aastra.com/presence/blustar/2011"

	// NSXPIDF marks what an xpidf document said and the typed model has no place for. Such documents have no
	// namespace, and RFC 3863 allows extensions only in one.
	NSXPIDF = "urn:x-openblustar:xpidf"
)

// The misspelt namespaces found in §4.3, §4.4 and §5.1 of the interface description; read as NSBluStar (BSP-3-2).
const (
	nsBluStarPublish = "http://www.aastracom/presence/blustar/2011"
	nsBluStarNotify  = "http://www.astra.com/presence/blustar/2011"
)

// What drafts of RFC 3863 called NSPIDF; some products never changed.
const (
	nsCPIM         = "urn:ietf:params:xml:ns:cpim-pidf"
	nsCPIMColon    = "urn:ietf:params:xml:ns:cpim-pidf:"
	nsCPIMPresence = "urn:ietf:params:cpim-presence:"
)

// nsID is a namespace that the decoders branch on.
type nsID uint8

const (
	idNone  nsID = iota // no namespace
	idOther             // one that no typed element has
	idXML
	idPIDF
	idDataModel
	idRPID
	idBluStar
	idPartial
	idResourceLists
	idRLMI
	idWatcherInfo
)

// classify returns the identity of a namespace, and whether uri is another spelling of it.
func classify(uri string) (id nsID, misspelt bool) {
	switch uri {
	case "":
		return idNone, false
	case NSPIDF:
		return idPIDF, false
	case nsCPIM, nsCPIMColon, nsCPIMPresence, NSPIDF + ":":
		return idPIDF, true
	case NSDataModel:
		return idDataModel, false
	case NSRPID:
		return idRPID, false
	case NSBluStar:
		return idBluStar, false
	case nsBluStarPublish, nsBluStarNotify:
		return idBluStar, true
	case NSXML:
		return idXML, false
	case NSPartial:
		return idPartial, false
	case NSResourceLists:
		return idResourceLists, false
	case NSRLMI:
		return idRLMI, false
	case NSWatcherInfo:
		return idWatcherInfo, false
	}
	return idOther, false
}
