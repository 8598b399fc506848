package stack

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// answers absorbs retransmissions of what came by datagram (RFC 3261 §17.2.2).
// It knows the exchanges that are under way and, for as long as a client may
// repeat itself (timer J), the answers that were given. At thousands of requests
// in a second those are what a server has most of, so they are packed into pages
// of bytes, which the garbage collector need not look into. What an answer repeats
// of its request is left out: the request that comes again has it. answers is in
// parts, each with a lock of its own.
type answers struct {
	seed  maphash.Seed
	parts [shards]answersPart
}

type answersPart struct {
	max int

	mu    sync.Mutex
	known map[uint64]known
	pages []*page  // the oldest first
	size  int      // of the pages' data, in bytes
	last  uint32   // number of the newest page; the first is 1
	_     [64]byte // of another processor's memory
}

// known is a request that came. It is found by its hash; or, where it has no To tag,
// by what it has in common with copies of it that come another way (RFC 3261
// §8.2.2.2).
type known struct {
	hash   uint64
	answer spot // the zero spot where there is none yet
}

// answerSize is how many bytes an answer may take on average.
const answerSize = 1 << 10

// spot is where a record is: in which page, and at which of its bytes.
type spot struct{ page, at uint32 }

// page holds records one behind the other, and is never changed but at its end.
type page struct {
	data []byte
	end  time.Time // when the last of its records may be forgotten
}

const pageSize = 16 << 10

// A record is the key of the request, the length of the packed answer, and that.
const recordHead = 8 + 4

func (a *answers) init(max int) {
	a.seed = maphash.MakeSeed()
	for i := range a.parts {
		p := &a.parts[i]
		p.max = (max + shards - 1) / shards
		p.known = make(map[uint64]known)
	}
}

// What becomes of a request, as answers knows it.
type verdict int

const (
	isNew    verdict = iota
	isOpen           // it came again, and is not answered yet
	isKept           // it came again, and was answered
	isMerged         // a copy that came another way
)

// admit tells what a request is, and how it was answered, packed, which stays as it
// is. A new one is known from then on.
func (a *answers) admit(x *exchange) (v verdict, answer []byte) {
	var scratch [256]byte
	x.hash = a.hash(x.req.Flow, x.req.AppendTransactionKey(scratch[:0]))
	key := x.hash
	switch {
	case x.req.To.Tag() == "":
		key = a.copies(&x.req)
	case x.way.conn != nil:
		return isNew, nil // nothing comes again over a connection
	}
	p := &a.parts[key%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	switch k, again := p.known[key]; {
	case again && k.hash != x.hash:
		return isMerged, nil
	case again && k.answer != spot{}:
		return isKept, p.read(k.answer)
	case again && x.way.conn == nil:
		return isOpen, nil
	}
	x.key = key
	p.known[key] = known{hash: x.hash}
	return isNew, nil
}

// hash tells the requests of all peers apart. Nobody outside can make two that
// have the same.
func (a *answers) hash(f sipx.Flow, key []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	ip := f.Remote.Addr().As16()
	var rest [10]byte
	binary.BigEndian.PutUint16(rest[:], f.Remote.Port())
	binary.BigEndian.PutUint64(rest[2:], f.Conn)
	_, _ = h.Write(ip[:])
	_, _ = h.Write(rest[:])
	_, _ = h.Write(key)
	return max(h.Sum64(), 1)
}

// copies is what a request has in common with its copies.
func (a *answers) copies(r *sipx.Request) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	_, _ = h.WriteString(r.CallID)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(r.From.Tag())
	_ = h.WriteByte(0)
	_, _ = h.WriteString(r.Method)
	var cseq [4]byte
	binary.BigEndian.PutUint32(cseq[:], r.CSeq)
	_, _ = h.Write(cseq[:])
	return max(h.Sum64(), 1)
}

// keep has an answer instead of the exchange.
func (a *answers) keep(x *exchange, res *sipx.Response) {
	var scratch [512]byte
	answer := pack(scratch[:0], res)
	p := &a.parts[x.key%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	to := p.room(recordHead + len(answer))
	p.known[x.key] = known{x.hash, spot{p.last, uint32(len(to.data))}}
	to.data = binary.BigEndian.AppendUint64(to.data, x.key)
	to.data = binary.BigEndian.AppendUint32(to.data, uint32(len(answer)))
	to.data = append(to.data, answer...)
	to.end = time.Now().Add(timerF)
	p.size += recordHead + len(answer)
	for (len(p.known) > p.max || p.size > p.max*answerSize) && len(p.pages) > 1 {
		p.forget()
	}
}

// pack appends what the request does not say of its answer.
func pack(dst []byte, res *sipx.Response) []byte {
	text := func(s string) { dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...) }
	dst = binary.AppendUvarint(dst, uint64(res.Status))
	text(res.Reason)
	text(res.ToTag)
	dst = binary.AppendUvarint(dst, uint64(len(res.Header)))
	for _, f := range res.Header {
		text(f.Name)
		text(f.Value)
	}
	return append(dst, res.Body...)
}

// unpack undoes pack.
func unpack(data []byte) *sipx.Response {
	number := func() uint64 {
		n, size := binary.Uvarint(data)
		data = data[size:]
		return n
	}
	text := func() string {
		n := number()
		s := string(data[:n])
		data = data[n:]
		return s
	}
	res := &sipx.Response{Status: int(number()), Reason: text(), ToTag: text()}
	for range number() {
		res.Header.Add(text(), text())
	}
	res.Body = data
	return res
}

// done forgets an exchange over a connection.
func (a *answers) done(x *exchange) {
	p := &a.parts[x.key%shards]
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, x.key)
}

// room returns the last page, or a new one where that has not so much room.
func (p *answersPart) room(size int) *page {
	if n := len(p.pages); n > 0 {
		if last := p.pages[n-1]; cap(last.data)-len(last.data) >= size {
			return last
		}
	}
	fresh := &page{data: make([]byte, 0, max(size, min(pageSize, p.max*answerSize/16)))} // several, where few are kept
	p.pages = append(p.pages, fresh)
	p.last++
	return fresh
}

// oldest returns the number of the oldest page.
func (p *answersPart) oldest() uint32 { return p.last + 1 - uint32(len(p.pages)) }

// read returns the answer that is at a spot; p.mu is held.
func (p *answersPart) read(at spot) []byte {
	record := p.pages[at.page-p.oldest()].data[at.at:]
	return record[recordHead:][:binary.BigEndian.Uint32(record[8:])]
}

// forget drops the oldest page; p.mu is held.
func (p *answersPart) forget() {
	number := p.oldest()
	for record := p.pages[0].data; len(record) > 0; {
		key := binary.BigEndian.Uint64(record)
		if k, ok := p.known[key]; ok && k.answer.page == number {
			delete(p.known, key)
		}
		record = record[recordHead+binary.BigEndian.Uint32(record[8:]):]
	}
	p.size -= len(p.pages[0].data)
	p.pages[0] = nil
	p.pages = p.pages[1:]
}

// expire forgets what is too old.
func (a *answers) expire(now time.Time) {
	for i := range a.parts {
		p := &a.parts[i]
		p.mu.Lock()
		had := len(p.pages)
		for len(p.pages) > 0 && !p.pages[0].end.After(now) {
			p.forget()
		}
		if had > 0 && len(p.pages) == 0 {
			// A map does not shrink; a burst is not remembered for ever.
			p.pages, p.known = nil, maps.Clone(p.known) // those not answered yet
		}
		p.mu.Unlock()
	}
}
