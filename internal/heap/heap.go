// Package heap has a program trade memory for a short tail of its answers while it is busy,
// and give it back when it is not.
//
// Go's collector runs whenever the heap has doubled. A server with a small heap and much
// traffic collects many times a second, and each time requests wait. With some room the
// collector runs rarely; what it would have freed is freed in the next quiet moment.
//
// It is for programs. A library leaves these settings to its host.
package heap

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// quiet is how many bytes a process that is at rest allocates in a second.
	quiet = 512 << 10
	// quietFor is how many such seconds make it so.
	quietFor = 3
	// worthIt, and a sixty-fourth of the heap, is the garbage that is left alone in a quiet
	// moment.
	worthIt = 1 << 20
)

// Keep gives the collector room, in bytes, until stop is called: it lets at least so much
// garbage come together before it runs, and collects in quiet moments. With no room, or with
// GOGC in the environment, it does nothing: then the operator has decided. GOMEMLIMIT counts
// all the same.
func Keep(room uint64) (stop func()) {
	if _, set := os.LookupEnv("GOGC"); set || room == 0 {
		return func() {}
	}
	before := debug.SetGCPercent(percent(0, room))
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { keep(room, end) })
	return func() {
		close(end)
		running.Wait()
		debug.SetGCPercent(before)
	}
}

func keep(room uint64, end chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	k := keeper{room: room}
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		set, collect := k.look(samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64())
		if set > 0 {
			debug.SetGCPercent(set)
		}
		if collect {
			debug.FreeOSMemory()
		}
	}
}

// keeper decides, once a second.
type keeper struct {
	room      uint64
	percent   int
	allocated uint64 // since the process began
	still     int    // seconds
}

// look is told how much the last collection has left, what is in use by now, and what was
// allocated since the process began. It returns the percentage to set, or 0, and whether to
// collect now.
func (k *keeper) look(live, used, allocated uint64) (set int, collect bool) {
	if allocated-k.allocated < quiet {
		k.still++
	} else {
		k.still = 0
	}
	k.allocated = allocated
	if want := percent(live, k.room); want < k.percent*3/4 || want > k.percent*5/4 {
		k.percent, set = want, want
	}
	if k.still >= quietFor && used > live+live/64+worthIt {
		k.still, collect = 0, true
	}
	return set, collect
}

// percent is the GOGC with which the collector runs when the room is used up, and no sooner
// than by default.
func percent(live, room uint64) int {
	const least, most = 4 << 20, 1 << 16 // the smallest heap of the runtime; a bound
	return int(min(max(100, 100*room/max(live, least)), most))
}
