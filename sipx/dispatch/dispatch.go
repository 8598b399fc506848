// Package dispatch is for those who write a [sipx.Stack]: it stands between
// sockets and the [sipx.Handler], and keeps the promises about handlers. They run
// in order where order matters, side by side where it does not, never more at
// once than allowed, and a flood of new requests takes no room from refreshes.
//
//	d := dispatch.New(dispatch.Config{})
//	…
//	taken := d.Submit(dispatch.Job{
//		Lane:        dispatch.LaneOf(req),
//		Established: dispatch.IsEstablished(req),
//		Task:        dispatch.TaskFunc(func() { dispatch.Serve(ctx, handler, w, req, logger) }),
//	})
//	if !taken {
//		w.Respond(…) // 503 with Retry-After
//	}
package dispatch

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Config bounds a [Dispatcher]. Zero fields take their default.
type Config struct {
	Running int // jobs that run at once; 256
	Waiting int // jobs that wait for their turn; 4096
	// Poll, where it is set, is called by the goroutines that run jobs, after every
	// few of them and before one waits for more: by one or several at once, with
	// nothing locked. It looks for work, and submits it. While goroutines keep all
	// processors busy, the runtime looks at the network every 10 ms only.
	Poll func()
}

// Job is one request to be handled.
type Job struct {
	// Lane orders jobs: those of one lane run one after another, as submitted.
	Lane Lane
	// Established marks a request that keeps or ends what is there already. A
	// quarter of both bounds is kept free for those.
	Established bool
	// Source is who sent it, where that is known. No source has more than half
	// of what may wait.
	Source netip.Addr
	// Group is the connection that the request came by, or nil.
	Group *Group
	Task  Task
}

// Task is what a job does. It may block: that holds up its own lane only.
type Task interface{ Run() }

// TaskFunc makes a function a [Task].
type TaskFunc func()

// Run calls f.
func (f TaskFunc) Run() { f() }

// Group counts the jobs of a connection. The zero value is ready.
type Group struct {
	jobs  int    // submitted and not done
	total int    // submitted at all
	then  func() // to call when jobs is 0
}

// Dispatcher runs jobs. Its methods may be called from any goroutine. A few of its
// goroutines wait for more work, with the stacks that they have grown, until Stop.
type Dispatcher struct {
	cfg Config

	mu      sync.Mutex
	started bool
	stopped bool
	lanes   map[Lane]*lane
	ready   [2]queue           // lanes that wait for their turn, by class
	turn    queue              // lanes whose turn it is, which count as running
	coming  bool               // a goroutine is on its way to take one
	more    atomic.Bool        // turn is not empty
	free    []*lane            // to be used again
	workers []chan struct{}    // goroutines that wait for work
	running [2]int             // jobs that run, by class
	waiting [2]int             // jobs that wait, by class
	sources map[netip.Addr]int // jobs that wait, by source
	idle    chan struct{}
}

// The classes of jobs.
const (
	fresh = iota
	established
)

// lane is a queue of jobs of which at most one runs.
type lane struct {
	key  Lane
	job  Job   // the one that runs, or is ready to
	jobs []Job // those after it
	next *lane // in a queue
}

// pollEvery is after how many jobs a goroutine polls.
const pollEvery = 8

// maxFree bounds the lanes that are kept to be used again.
const maxFree = 256

// maxWorkers bounds the goroutines that wait for work.
const maxWorkers = 64

// queue is a list of lanes.
type queue struct{ first, last *lane }

func (q *queue) push(l *lane) {
	l.next = nil
	if q.first == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

// pop returns nil where there is none.
func (q *queue) pop() *lane {
	l := q.first
	if l != nil {
		q.first = l.next
	}
	return l
}

// New makes a dispatcher. Jobs wait until Start.
func New(cfg Config) *Dispatcher {
	if cfg.Running <= 0 {
		cfg.Running = 256
	}
	if cfg.Waiting <= 0 {
		cfg.Waiting = 4096
	}
	return &Dispatcher{cfg: cfg, lanes: make(map[Lane]*lane), sources: make(map[netip.Addr]int)}
}

// Start lets jobs run.
func (d *Dispatcher) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started = true
	d.fill()
	d.send()
}

// Submit takes a job, and reports false where the bounds do not allow it or the
// dispatcher was stopped. It does not block.
func (d *Dispatcher) Submit(j Job) bool {
	class := classOf(j)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return false
	}
	limit := d.cfg.Waiting
	if class == fresh {
		limit -= limit / 4
	}
	if d.waiting[fresh]+d.waiting[established] >= limit ||
		j.Source.IsValid() && d.sources[j.Source] >= limit-limit/2 {
		return false
	}
	if l := d.lanes[j.Lane]; l != nil {
		l.jobs = append(l.jobs, j)
	} else {
		l = d.newLane(j)
		d.lanes[j.Lane] = l
		d.ready[class].push(l)
	}
	d.waiting[class]++
	d.sources[j.Source]++
	if j.Group != nil {
		j.Group.jobs++
		j.Group.total++
	}
	d.fill()
	d.send()
	return true
}

func (d *Dispatcher) newLane(j Job) *lane {
	n := len(d.free)
	if n == 0 {
		return &lane{key: j.Lane, job: j}
	}
	l := d.free[n-1]
	d.free[n-1], d.free = nil, d.free[:n-1]
	l.key, l.job = j.Lane, j
	return l
}

func classOf(j Job) int {
	if j.Established {
		return established
	}
	return fresh
}

// fill gives ready lanes their turn while there is room.
func (d *Dispatcher) fill() {
	for d.started {
		l := d.next()
		if l == nil {
			return
		}
		d.turn.push(l)
	}
}

// send sends a goroutine for lanes whose turn it is. That one sends the next where
// more are left. So jobs that are soon done are done by few goroutines, one after
// another, and jobs that block hold up nobody.
func (d *Dispatcher) send() {
	d.more.Store(d.turn.first != nil)
	if d.turn.first == nil || d.coming {
		return
	}
	d.coming = true
	n := len(d.workers)
	if n == 0 {
		go d.work(make(chan struct{}, 1))
		return
	}
	d.workers[n-1] <- struct{}{} // it waits: there is room
	d.workers = d.workers[:n-1]
}

// Busy reports whether jobs whose turn it is wait for a goroutine to take them.
func (d *Dispatcher) Busy() bool { return d.more.Load() }

// next takes a ready lane, and accounts for its first job as running.
func (d *Dispatcher) next() *lane {
	all := d.running[fresh] + d.running[established]
	if all >= d.cfg.Running {
		return nil
	}
	class := established
	if d.ready[class].first == nil {
		class = fresh
		if d.ready[class].first == nil || d.running[fresh] >= max(1, d.cfg.Running-d.cfg.Running/4) {
			return nil
		}
	}
	l := d.ready[class].pop()
	d.waiting[class]--
	d.running[class]++
	if source := l.job.Source; d.sources[source] > 1 {
		d.sources[source]--
	} else {
		delete(d.sources, source)
	}
	return l
}

// work runs jobs until it may end. More come by a word on more.
func (d *Dispatcher) work(more chan struct{}) {
	for {
		d.mu.Lock()
		d.coming = false
		l := d.turn.pop()
		d.send()
		d.mu.Unlock()
		for n := 1; l != nil; n++ {
			if l = d.step(l); l == nil || n%pollEvery == 0 {
				l = d.poll(l)
			}
		}
		if !d.rest(more) {
			return
		}
		<-more
	}
}

// poll looks for work, and returns the lane whose turn is next: l, where that is one.
func (d *Dispatcher) poll(l *lane) *lane {
	if d.cfg.Poll == nil {
		return l
	}
	d.cfg.Poll()
	if l == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		l = d.turn.pop()
		d.send()
	}
	return l
}

// rest has a goroutine wait for work, and reports false where enough of them do.
func (d *Dispatcher) rest(more chan struct{}) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped || len(d.workers) == maxWorkers {
		return false
	}
	d.workers = append(d.workers, more)
	return true
}

// step runs the first job of l, and returns the lane whose turn is next.
func (d *Dispatcher) step(l *lane) (next *lane) {
	job := l.job
	returned := false
	defer func() {
		d.leave(job.Group)
		next = d.done(l, job, returned) // runtime.Goexit, as of a failed test, ends this goroutine
	}()
	job.Task.Run()
	returned = true
	return nil // set by the deferred function
}

// leave takes a job off g.
func (d *Dispatcher) leave(g *Group) {
	if g == nil {
		return
	}
	var then func()
	d.mu.Lock()
	if g.jobs--; g.jobs == 0 {
		then, g.then = g.then, nil
	}
	d.mu.Unlock()
	if then != nil {
		then()
	}
}

// done accounts for the end of l's first job and returns the lane to work on
// next, where the caller goes on.
func (d *Dispatcher) done(l *lane, job Job, goesOn bool) (next *lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running[classOf(job)]--
	if len(l.jobs) == 0 {
		delete(d.lanes, l.key)
		if len(d.free) < maxFree {
			l.key, l.job, l.jobs = Lane{}, Job{}, nil
			d.free = append(d.free, l)
		}
	} else {
		l.job = l.jobs[0]
		l.jobs[0] = Job{}
		l.jobs = l.jobs[1:]
		d.ready[classOf(l.job)].push(l)
	}
	d.fill()
	if goesOn {
		next = d.turn.pop()
	}
	d.send()
	if d.idle != nil && d.busy() == 0 {
		close(d.idle)
		d.idle = nil
	}
	return next
}

// After calls f once all jobs of g are done: at once where there is none. f is
// not called at all where g never had a job. No job of g may be submitted after.
func (d *Dispatcher) After(g *Group, f func()) {
	d.mu.Lock()
	switch {
	case g.total == 0:
		f = nil
	case g.jobs > 0:
		g.then, f = f, nil
	}
	d.mu.Unlock()
	if f != nil {
		f()
	}
}

// Stop makes Submit refuse, and waits until all jobs are done or ctx ends. Jobs
// that wait for a Start that never came are dropped.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.mu.Lock()
	d.stopped = true
	for _, more := range d.workers {
		close(more)
	}
	d.workers = nil
	if !d.started {
		clear(d.lanes)
		clear(d.sources)
		d.ready, d.waiting = [2]queue{}, [2]int{}
	}
	if d.busy() == 0 {
		d.mu.Unlock()
		return nil
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// busy counts the jobs that run or wait; d.mu is held.
func (d *Dispatcher) busy() int {
	return d.running[0] + d.running[1] + d.waiting[0] + d.waiting[1]
}

// Len returns how many jobs run and how many wait.
func (d *Dispatcher) Len() (running, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running[0] + d.running[1], d.waiting[0] + d.waiting[1]
}
