// Package schema holds the XML schema of BluStar's presence extensions in working order, for hosts that validate
// documents with a schema processor. The file notes each repair to the printed one.
//
// It refers to the schemas of RFC 4479 (common-schema.xsd) and RFC 4480 (rpid.xsd), which have to lie beside it.
package schema

import "embed"

// FS holds aa.xsd.
//
//go:embed aa.xsd
var FS embed.FS
