package subscription

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/openblustar/blustar/sipx"
)

// coding is how the large bodies of a dialog are compressed.
type coding uint8

const (
	identity coding = iota
	gzipped
	deflated // the zlib format (RFC 9110 §8.4.1.2)
	codings
)

var codingNames = [codings]string{"identity", "gzip", "deflate"}

// leastCoded is the size in bytes from which a body is compressed: with its header, it
// is about what fits an MTU.
const leastCoded = 1024

// codingOf is the first coding of Accept-Encoding (RFC 3261 §20.2) that we write.
func codingOf(h sipx.Header) coding {
	for value := range h.Values("Accept-Encoding") {
		for element := range sipx.SplitList(value) {
			name, params, _ := strings.Cut(element, ";")
			key, q, _ := strings.Cut(params, "=")
			weight, err := strconv.ParseFloat(strings.TrimSpace(q), 32)
			if strings.EqualFold(strings.TrimSpace(key), "q") && (err != nil || weight <= 0) {
				continue
			}
			for c := gzipped; c < codings; c++ {
				if strings.EqualFold(strings.TrimSpace(name), codingNames[c]) {
					return c
				}
			}
		}
	}
	return identity
}

// compressors are the writers that are free: each is far larger than a body.
type compressors [codings]sync.Pool

// compress returns the body in a coding.
func (p *compressors) compress(c coding, body []byte) []byte {
	type compressor interface {
		io.WriteCloser
		Reset(io.Writer)
	}
	w, _ := p[c].Get().(compressor)
	switch {
	case w != nil:
	case c == gzipped:
		w, _ = gzip.NewWriterLevel(nil, flate.BestSpeed)
	default:
		w, _ = zlib.NewWriterLevel(nil, flate.BestSpeed)
	}
	var b bytes.Buffer
	b.Grow(len(body) / 4)
	w.Reset(&b)
	_, _ = w.Write(body) // a Buffer takes all
	_ = w.Close()
	w.Reset(nil)
	p[c].Put(w)
	return b.Bytes()
}
