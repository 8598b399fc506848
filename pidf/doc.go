// Package pidf reads and writes presence documents: PIDF (RFC 3863) with its data model (RFC 4479) and all of rich
// presence (RPID, RFC 4480), as a [Presence].
//
// It knows no SIP, and no vendor: the elements of BluStar are in package pidf/aa. What goes around presence documents
// is in packages of the same make: pidf/resourcelists (RFC 4826), pidf/rlmi (RFC 4662) with pidf/related for the
// message that it comes in, and pidf/watcherinfo (RFC 3858). [Decoder.Read] tells them apart. Package pidf/xpidf reads
// the draft that went before PIDF.
//
// # Reading
//
// [Decode] is lenient where that is safe, and says in Presence.Warnings what it put up with: any prefix and order of
// elements, misspelt or missing namespaces, missing identifiers, spaces and capitals in values, times without a zone,
// wrong charset labels. It is strict where it must be. What is not well-formed, has a document type declaration (three
// of the time of drafts, which declare nothing, are passed over), or is larger, deeper or more than the [Limits] is
// refused with a [SyntaxError] that has line, column and element. So is any other root element: rls-services (RFC 4826
// §4), partial presence (RFC 5262), dialog-info (RFC 4235), with [ErrRoot] and its name.
// Whether a document keeps the rules of the schemas is a question of its own: [Presence.Validate].
//
// # Nothing is lost, nothing is invented
//
// Elements and attributes that the model has no field for, comments and processing instructions are kept in the Extra
// of the element that they stand in, remember their place among its typed children, and are written back there. So
// are values that their field cannot hold, such as a timestamp that is none; once the field is set, it replaces them.
// [Extra.Find] reaches an [Extension], such as those of CIPID (RFC 4482), capabilities (RFC 5196) and timed status (RFC
// 4481). A field keeps the form of its text, such as the zone and fraction of a time, until it is changed. What is
// there and empty is written again, what is missing is not. A comment inside a text moves behind its element. What is
// not kept: white space between elements, and the choice of prefixes and encoding.
//
// # Writing
//
// [Presence.Append] writes canonical documents, in the order of the schemas, in one of two dialects. [StandardDialect]
// is what the schemas of the RFCs validate: they want identifiers to be NCNames, and each device to have a deviceID.
// Other than that a document that was valid before is valid after, and one that was built out of valid values is valid.
// [BluStarDialect] is what the interface description of BluStar prints.
//
// [Equal] compares what documents say, times of last change aside. A Presence can be a field of a struct that
// encoding/xml reads and writes.
//
// # Location, capabilities and other extensions
//
// Two ways lead to an extension. [Extension.Unmarshal] and [NewExtension] are for any type of encoding/xml: see the
// example of RCS capabilities. A [Type] makes a [Decoder] read an element as an [Element], which lists its fields to
// [Fields] once; that list drives decoding, encoding and validating: see the example of a geopriv location (PIDF-LO,
// RFC 4119). Package pidf/aa is made of the same: see the example of BluStar.
package pidf
