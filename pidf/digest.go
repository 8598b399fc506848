package pidf

import (
	"bytes"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Digest is a number that two documents have in common where what [Presence.Append] has
// written of them differs in elements alone that tell the time of a last change, and hardly
// ever else. It is the same in another process. It is not 0. It does not tell documents
// apart that somebody has made to have the same one.
func Digest(written []byte) uint64 {
	var a, b uint32
	add := func(part []byte) {
		a, b = crc32.Update(a, crc32.IEEETable, part), crc32.Update(b, castagnoli, part)
	}
	name := []byte("timestamp>")
	for at := 0; ; {
		i := bytes.Index(written[at:], name)
		if i < 0 {
			break
		}
		last := at + i
		at = last + len(name)
		start, end := bytes.LastIndexByte(written[:last], '<'), bytes.Index(written[at:], name)
		if start < 0 || start+1 != last && written[last-1] != ':' || end < 0 {
			continue // another element
		}
		add(written[:start])
		written, at = written[at+end+len(name):], 0
	}
	add(written)
	return uint64(a)<<32 | uint64(b) | 1
}
