// Package pidf reads and writes presence documents and the documents around them:
//
//   - PIDF (RFC 3863) with its data model (RFC 4479), all of rich presence (RPID, RFC 4480) and the BluStar
//     extensions of aa.xsd: [Presence]
//   - xpidf, what Asterisk and others send to older telephones: read only, as a [Presence]
//   - resource lists (RFC 4826): [ResourceLists]
//   - list information (RLMI) and its multipart/related message (RFC 4662): [ListInfo], [Related]
//   - watcher information (RFC 3858): [WatcherInfo]
//
// It depends on nothing else of BluStar and knows no SIP.
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
// Of xpidf, each address becomes a tuple with its contact and status: open, inuse (open as well) or closed; inuse, and
// the substatus onthephone, busy or away, becomes an activity of a person besides. What else it says is kept under
// [NSXPIDF]; the method=SUBSCRIBE that it appends to the presentity is no part of the entity.
//
// # Nothing is lost
//
// Elements and attributes that the model has no field for, comments and processing instructions are kept in the Extra
// of the element that they stand in, remember their place among its typed children, and are written back there. So
// are values that their field cannot hold, such as a timestamp that is none. [Extra.Find] reaches an [Extension], such
// as those of CIPID (RFC 4482), capabilities (RFC 5196) and timed status (RFC 4481); [Extension.Element] returns it as
// an etree to edit, which is the only use of a tree here. A comment inside a text moves behind its element. What is not
// kept: white space between elements, fractions of a second, and the choice of prefixes and encoding.
//
// # Writing
//
// [Presence.AppendXML] and [Presence.Append] write canonical documents, in the order of the schemas, in one of two
// dialects. [BluStarDialect] is what the interface description of BluStar prints. [StandardDialect] is what the schemas
// of the RFCs validate: they want identifiers to be NCNames, and each device to have a deviceID. Other than that a
// document that was valid before is valid after, and one that was built out of valid values is valid. A [Template]
// holds a document that goes to many watchers, each with the entity that it asked for.
//
// [Equal] and [Diff] compare what documents say, times of last change aside.
package pidf
