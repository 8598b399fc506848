package pidf

import (
	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/prefixes"
)

// Namespaces of presence documents, and of the extensions that callers look up most often.
const (
	NSPIDF      = "urn:ietf:params:xml:ns:pidf"            // RFC 3863
	NSDataModel = "urn:ietf:params:xml:ns:pidf:data-model" // RFC 4479
	NSRPID      = "urn:ietf:params:xml:ns:pidf:rpid"       // RFC 4480
	NSCIPID     = "urn:ietf:params:xml:ns:pidf:cipid"      // RFC 4482, kept as extensions
	NSCaps      = "urn:ietf:params:xml:ns:pidf:caps"       // RFC 5196, kept as extensions
)

// TypePIDF is the media type of presence documents.
const TypePIDF = "application/pidf+xml"

// What drafts of RFC 3863 called NSPIDF; some products never changed.
const (
	nsCPIM         = "urn:ietf:params:xml:ns:cpim-pidf"
	nsCPIMColon    = "urn:ietf:params:xml:ns:cpim-pidf:"
	nsCPIMPresence = "urn:ietf:params:cpim-presence:"
)

const nsPartial = "urn:ietf:params:xml:ns:pidf-diff" // RFC 5262, recognized and refused

// nsID is a namespace that the decoders branch on.
type nsID = markup.ID

const (
	idNone  = markup.None
	idOther = markup.Other
	idXML   = markup.XML
)

const (
	idPIDF nsID = iota + idXML + 1
	idDataModel
	idRPID
	idPartial
	idCount
)

// namespaces are those that have an id, with the prefixes that this package writes.
var namespaces = [idCount]prefixes.Fixed{
	idXML: {Space: markup.NSXML}, idPIDF: {Space: NSPIDF}, idPartial: {Space: nsPartial},
	idDataModel: {Space: NSDataModel, Head: "dm:", Declaration: ` xmlns:dm="` + NSDataModel + `"`},
	idRPID:      {Space: NSRPID, Head: "rpid:", Declaration: ` xmlns:rpid="` + NSRPID + `"`},
}

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
	case markup.NSXML:
		return idXML, false
	case nsPartial:
		return idPartial, false
	}
	return idOther, false
}
