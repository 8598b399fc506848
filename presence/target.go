package presence

import (
	"strconv"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// bareURI writes an address as documents show it: without port and parameters.
func bareURI(u sipx.URI) string {
	var buffer [128]byte
	return string(appendBare(buffer[:0], u))
}

func appendBare(dst []byte, u sipx.URI) []byte {
	u.Params, u.Headers, u.Port = "", "", 0
	return u.AppendTo(dst)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func watchKey(uri string) string {
	if a, err := directory.ParseAddress(uri); err == nil {
		return a.String()
	}
	return uri
}

// amccUser is the user part of the Contact of an AMCC (§2.11).
const amccUser = "fmc"

// contactKey writes a Contact for comparison. Parameters do not count: a client may add
// one.
func contactKey(u sipx.URI) string {
	var buffer [128]byte
	return string(appendContact(buffer[:0], u))
}

func appendContact(dst []byte, u sipx.URI) []byte {
	u.Params, u.Headers = "", ""
	return u.AppendTo(dst)
}
