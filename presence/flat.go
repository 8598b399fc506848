package presence

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// flat writes the fields of a record one after another, or reads them. One list of fields serves
// for both. A number is a varint. A text begins with its length. New fields come at the end: an
// older record ends before them, and an older reader passes them over.
type flat struct {
	b       []byte // what is written, or what is left to be read
	cut     int    // where the record begins that is written now
	reading bool
	broken  bool
}

var errFlat = errors.New("a field is cut off")

// record returns what was written since the last call. Nobody appends to it.
func (f *flat) record() []byte {
	r := f.b[f.cut:len(f.b):len(f.b)]
	f.cut = len(f.b)
	return r
}

// next takes n bytes of what is left; none if there are fewer.
func (f *flat) next(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.b, f.broken = nil, true
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *flat) uint(v *uint64) {
	if !f.reading {
		f.b = binary.AppendUvarint(f.b, *v)
		return
	}
	n := 0
	if *v, n = binary.Uvarint(f.b); n < 0 || n == 0 && len(f.b) > 0 {
		f.b, f.broken = nil, true
		return
	}
	f.b = f.b[n:]
}

// number reads or writes a number of any other type.
func number[N ~int32 | ~uint32 | ~uint8 | ~int | ~int64](f *flat, v *N) {
	n := uint64(*v)
	f.uint(&n)
	*v = N(n)
	f.broken = f.broken || uint64(*v) != n
}

// str reads or writes text or bytes.
func str[T ~string | ~[]byte](f *flat, v *T) {
	n := uint64(len(*v))
	f.uint(&n)
	if !f.reading {
		f.b = append(f.b, *v...)
	} else if b := f.next(n); len(b) > 0 {
		*v = T(append([]byte(nil), b...))
	}
}

// count reads or writes how many elements follow, and returns that. Each has at least so many
// bytes.
func (f *flat) count(n, least int) int {
	u := uint64(n)
	if f.uint(&u); f.reading && u > uint64(len(f.b)/least) {
		f.b, f.broken, u = nil, true, 0
	}
	return int(u)
}

func (f *flat) texts(v *[]string) {
	if n := f.count(len(*v), 1); f.reading {
		*v = make([]string, n)
	}
	for i := range *v {
		str(f, &(*v)[i])
	}
}

func (f *flat) flag(flags ...*bool) {
	var n uint64
	for i, v := range flags {
		if *v {
			n |= 1 << i
		}
	}
	f.uint(&n)
	for i, v := range flags {
		*v = n&(1<<i) != 0
	}
}

// time reads or writes a time in nanoseconds since 1970. The zero time stays zero.
func (f *flat) time(v *time.Time) {
	var n uint64
	if !v.IsZero() {
		n = uint64(v.UnixNano())
	}
	f.uint(&n)
	if !f.reading {
		return
	}
	if *v = (time.Time{}); n != 0 {
		*v = time.Unix(0, int64(n))
	}
}

func (f *flat) uri(v *sipx.URI) {
	str(f, &v.Scheme)
	str(f, &v.User)
	str(f, &v.Host)
	number(f, &v.Port)
	str(f, &v.Params)
	str(f, &v.Headers)
}

func (f *flat) address(v *netip.AddrPort) {
	var a [16]byte
	b := a[:0]
	if !f.reading && v.IsValid() {
		b, _ = v.AppendBinary(b)
	}
	str(f, &b)
	f.broken = f.broken || f.reading && v.UnmarshalBinary(b) != nil && len(b) > 0
}

func (f *flat) prefix(v *netip.Prefix) {
	var b []byte
	if !f.reading && v.IsValid() {
		b, _ = v.MarshalBinary()
	}
	str(f, &b)
	f.broken = f.broken || f.reading && v.UnmarshalBinary(b) != nil && len(b) > 0
}

// flatRecord is a record that flat writes and reads.
type flatRecord[V any] interface {
	*V
	fields(f *flat)
}

// readFlat reads a record.
func readFlat[V any, R flatRecord[V]](value []byte) (V, error) {
	var v V
	f := flat{b: value, reading: true}
	R(&v).fields(&f)
	if f.broken {
		return v, errFlat
	}
	return v, nil
}
