package boltstore

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"

	"go.etcd.io/bbolt"
)

// A page of bbolt begins with its number (8 bytes), kind (2), how many elements it has (2)
// and how many pages more it takes (4). An element of a branch is where its key is (8), and
// the number of a child (8). The first two pages tell where the others are.
const (
	pageHeader    = 16
	branchElement = 16
	branchPage    = 1  // its kind
	metaContents  = 56 // bytes, followed by their checksum
	maxDepth      = 32 // of a tree; with two billion records it is about 10
)

// inspectPages looks at how the pages of a file hang together, before bbolt follows them.
// Headers have no checksum: bbolt would note each page that a damaged one claims, and go
// round for ever where a page is its own child. It would also take the older of the first
// two pages where the newer one is damaged, and so lose a batch.
func inspectPages(path string, tx *bbolt.Tx) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(tx.DB().Info().PageSize)
	end := tx.Size() / size
	parents := make(map[int64]int64)
	var header [pageHeader + metaContents + 8]byte
	order := binary.NativeEndian
	for id := int64(0); id < end; id++ {
		if info, err := tx.Page(int(id)); err != nil {
			return err
		} else if info.Type == "free" {
			continue
		}
		if _, err := f.ReadAt(header[:], id*size); err != nil {
			return err
		}
		wrong := fmt.Errorf("%w: page %d", ErrCorrupt, id)
		kind, count, more := order.Uint16(header[8:]), order.Uint16(header[10:]), int64(order.Uint32(header[12:]))
		if order.Uint64(header[:]) != uint64(id) || more >= end-id {
			return wrong
		}
		if id < 2 {
			sum := fnv.New64a()
			_, _ = sum.Write(header[pageHeader : pageHeader+metaContents])
			if sum.Sum64() != order.Uint64(header[pageHeader+metaContents:]) {
				return wrong
			}
		}
		if kind == branchPage {
			elements := make([]byte, int(count)*branchElement)
			if _, err := f.ReadAt(elements, id*size+pageHeader); err != nil {
				return wrong
			}
			for ; len(elements) > 0; elements = elements[branchElement:] {
				child := int64(order.Uint64(elements[8:]))
				if child < 2 || child >= end || parents[child] != 0 {
					return wrong
				}
				parents[child] = id
			}
		}
		id += more
	}
	for id := range parents {
		depth := 0
		for p := id; p != 0; p = parents[p] {
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: page %d is below itself", ErrCorrupt, id)
			}
		}
	}
	return nil
}
