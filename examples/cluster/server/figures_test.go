//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// figures are taken of a cluster of real processes with three NATS servers.
type figures struct {
	*testing.B
	nats  *cluster
	nodes []*node
	mob   *mob
}

func newFigures(b *testing.B, nodes, people int, notes chan *sipx.Request) *figures {
	f := &figures{B: b, nats: startNATS(b, 3, "http_port: 8222")}
	f.nodes = startNodes(b, f.nats, users(b, people), []string{"a", "b", "c", "d", "e"}[:nodes]...)
	f.mob = newMob(b, people, f.nodes, notes)
	f.mob.doing("figures are taken")
	return f
}

// at has the next requests go to one node.
func (f *figures) at(n *node) {
	f.mob.mu.Lock()
	defer f.mob.mu.Unlock()
	f.mob.nodes = []string{n.address}
}

// told waits for a NOTIFY that says something to the watcher.
func (f *figures) told(text string) {
	for n := range f.mob.notes {
		if n.CallID == f.mob.users[1].watch.callID && bytes.Contains(n.Body, []byte(text)) {
			return
		}
	}
}

// cpu is what processes have used, in milliseconds.
func (f *figures) cpu(all ...*exec.Cmd) (ms float64) {
	for _, cmd := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		require.NoError(f, err)
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		for _, ticks := range fields[11:13] { // utime and stime, of 10 ms
			n, err := strconv.ParseFloat(ticks, 64)
			require.NoError(f, err)
			ms += 10 * n
		}
	}
	return ms
}

func (f *figures) programs() (all []*exec.Cmd) {
	for _, n := range f.nodes {
		all = append(all, n.cmd)
	}
	return all
}

// messages is how many the NATS servers have taken from nodes and from each other.
func (f *figures) messages() (n float64) {
	for _, host := range f.nats.hosts {
		res, err := http.Get("http://" + host + ":8222/varz")
		require.NoError(f, err)
		var v struct {
			In float64 `json:"in_msgs"`
		}
		require.NoError(f, json.NewDecoder(res.Body).Decode(&v))
		_ = res.Body.Close()
		n += v.In
	}
	return n
}

// measure runs what is measured b.N times, and reports what each took.
func (f *figures) measure(step func(i int)) {
	var each []time.Duration
	nodes, nats, messages := f.cpu(f.programs()...), f.cpu(f.nats.servers...), f.messages()
	for i := 0; f.Loop(); i++ {
		began := time.Now()
		step(i)
		each = append(each, time.Since(began))
	}
	slices.Sort(each)
	n := float64(len(each))
	f.ReportMetric(float64(each[len(each)/2].Microseconds())/1000, "p50-ms")
	f.ReportMetric(float64(each[len(each)*99/100].Microseconds())/1000, "p99-ms")
	f.ReportMetric((f.cpu(f.programs()...)-nodes)/n, "nodes-cpu-ms")
	f.ReportMetric((f.cpu(f.nats.servers...)-nats)/n, "nats-cpu-ms")
	f.ReportMetric((f.messages()-messages)/n, "messages")
}

// BenchmarkPublish measures a PUBLISH at one node until the NOTIFY of it from another arrives, one
// after the other, with 1, 2, 3 and 5 nodes, and BenchmarkRefresh a SUBSCRIBE that refreshes.
func BenchmarkPublish(b *testing.B) {
	each(b, func(f *figures) {
		f.measure(func(i int) {
			text := fmt.Sprintf("note %d of u0", i)
			f.mob.publish(f.mob.users[0], text)
			f.told(">" + text + "<")
		})
	})
}

func BenchmarkRefresh(b *testing.B) {
	each(b, func(f *figures) {
		u := f.mob.users[0]
		f.measure(func(int) { f.mob.subscribe(u, u.own) })
	})
}

func each(b *testing.B, run func(f *figures)) {
	for _, n := range []int{1, 2, 3, 5} {
		b.Run(fmt.Sprint("nodes=", n), func(b *testing.B) {
			f := newFigures(b, n, 2, make(chan *sipx.Request, 100))
			tom, ann := f.mob.users[0], f.mob.users[1]
			f.at(f.nodes[n-1])
			f.mob.subscribe(ann, ann.own)
			f.mob.subscribe(ann, ann.watch)
			f.at(f.nodes[0])
			f.mob.subscribe(tom, tom.own)
			f.mob.publish(tom, "first of u0")
			f.told(">first of u0<")
			run(f)
		})
	}
}

// BenchmarkFailover measures from the end of a node by SIGKILL, with a lease of 4 s, until its heir
// tells a watcher what is new.
func BenchmarkFailover(b *testing.B) {
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		f := newFigures(b, 3, 2, make(chan *sipx.Request, 100))
		tom, ann := f.mob.users[0], f.mob.users[1]
		f.at(f.nodes[0])
		f.mob.subscribe(ann, ann.own)
		f.mob.subscribe(ann, ann.watch)
		f.at(f.nodes[1])
		f.mob.subscribe(tom, tom.own)
		f.mob.publish(tom, "first of u0")
		f.told(">first of u0<")
		b.StartTimer()
		began := time.Now()
		f.nodes[0].end(syscall.SIGKILL)
		f.mob.publish(tom, "last of u0")
		f.told(">last of u0<")
		took += time.Since(began)
	}
	b.ReportMetric(took.Seconds()/float64(b.N), "s-to-heir")
}

// BenchmarkHeld measures what a node holds of 10,000 users with a publication each, who watch ten
// others each at another node, and how long one takes to start.
func BenchmarkHeld(b *testing.B) {
	const people, watched = 10_000, 10
	for b.Loop() {
		f := newFigures(b, 2, people, nil)
		f.at(f.nodes[0])
		memory := func(n *node) float64 {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
			require.NoError(b, err)
			pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
			require.NoError(b, err)
			return pages * float64(os.Getpagesize()) / (1 << 20)
		}
		empty := memory(f.nodes[1])
		began := time.Now()
		var all sync.WaitGroup
		room := make(chan struct{}, 128)
		for _, u := range f.mob.users {
			all.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				f.mob.subscribe(u, u.own)
				f.mob.publish(u, fmt.Sprintf("note of u%d", u.i))
				for i := range watched - 1 {
					d := &mobDialog{callID: fmt.Sprint("more", u.i, ".", i), of: f.mob.users[(u.i+i+1)%people]}
					f.mob.mu.Lock()
					f.mob.dialogs[d.callID] = &heard{seen: make(map[uint32][32]byte), of: d.of}
					f.mob.mu.Unlock()
					f.mob.subscribe(u, d)
				}
			})
		}
		all.Wait()
		b.ReportMetric(time.Since(began).Seconds(), "s-to-sign-in")
		b.ReportMetric(memory(f.nodes[0]), "owner-MB")
		b.ReportMetric(memory(f.nodes[1])-empty, "other-MB")
		began = time.Now()
		c := newNode(b, f.nats, users(b, people), nil, "c")
		c.start()
		c.serves()
		b.ReportMetric(time.Since(began).Seconds(), "s-to-start")
	}
}
