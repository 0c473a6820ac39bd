package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Members of a group over plain HTTP, each through whichever node answers, while members die and join and the leader is
// killed. A member does what the documentation asks of it and nothing more: it handles what its last answer assigns, names a
// generation when it has stopped handling what that takes away, and holds itself for out when its last answered request is
// older than its session. By one clock, that of this process, no two may then ever handle one partition.

const memberSession = 3 * time.Second

// tenure is the time for which a member handled a partition.
type tenure struct {
	member     string
	partition  uint32
	begin, end time.Time
}

// handled is one message in one member's hands.
type handled struct {
	partition uint32
	offset    uint64
}

// crew is the members of one group and what they have done.
type crew struct {
	g       *group
	mu      sync.Mutex
	tenures []tenure
	hands   map[handled][]string
	fenced  atomic.Int64 // commits that were refused
	again   atomic.Int64 // times that a live member was told to join again
	errs    chan error
	done    sync.WaitGroup
}

// worker is one member.
type worker struct {
	crew       *crew
	id         string
	node       int
	generation uint64
	answered   time.Time // when its last answered request was sent
	since      map[uint32]time.Time
	die        chan struct{} // without a word
	stop       chan struct{} // in good order
	dead       sync.WaitGroup
}

// shareOut is what join and poll answer.
type shareOut struct {
	Generation uint64
	Assigned   []struct{ Partition uint32 }
	Messages   []struct {
		Partition uint32
		Offset    uint64
	}
	Partitions []struct {
		Partition  uint32
		NextOffset uint64 `json:"next_offset"`
	}
}

func (c *crew) hire(id string, node int) *worker {
	w := &worker{crew: c, id: id, node: node, since: map[uint32]time.Time{}, die: make(chan struct{}), stop: make(chan struct{})}
	c.done.Add(1)
	w.dead.Add(1)
	go func() {
		defer c.done.Done()
		defer w.dead.Done()
		if err := w.work(); err != nil {
			c.errs <- fmt.Errorf("member %s: %w", id, err)
		}
	}()
	return w
}

func (w *worker) work() error {
	if err := w.join(); err != nil {
		return err
	}
	for {
		select {
		case <-w.die:
			w.lose(func(uint32) bool { return true }, time.Now())
			return nil
		case <-w.stop:
			w.lose(func(uint32) bool { return true }, time.Now())
			_, err := w.ask("POST", "leave", fmt.Sprintf(`{"member":%q}`, w.id))
			return err
		default:
		}
		if err := w.turn(); err != nil {
			return err
		}
	}
}

// turn is one poll and what follows from it.
func (w *worker) turn() error {
	r, err := w.ask("GET", fmt.Sprintf("poll?member=%s&generation=%d&wait_ms=200&limit=20", w.id, w.generation), "")
	if err != nil {
		return err
	}
	if r.Status != 200 {
		if code := r.ErrorCode(); code != "unknown_member" && code != "fenced" {
			return fmt.Errorf("poll: %s", &r)
		}
		w.crew.again.Add(1)
		w.lose(func(uint32) bool { return true }, time.Now())
		return w.join()
	}
	var a shareOut
	if err := r.JSON(&a); err != nil {
		return err
	}
	w.learn(&a)
	for _, m := range a.Messages {
		if _, mine := w.since[m.Partition]; mine && time.Since(w.answered) < memberSession {
			w.crew.handle(w.id, handled{m.Partition, m.Offset})
		}
	}
	for _, p := range a.Partitions {
		if _, mine := w.since[p.Partition]; !mine || p.NextOffset == 0 {
			continue
		}
		body := fmt.Sprintf(`{"topic":"work","group":"crew","partition":%d,"offset":%d,"member":%q,"generation":%d}`, p.Partition, p.NextOffset, w.id, a.Generation)
		r, err := w.send("POST", "/broker/commit", body)
		if err != nil {
			return err
		}
		if r.Status == 409 {
			w.crew.fenced.Add(1)
		} else if r.Status != 200 {
			return fmt.Errorf("commit: %s", &r)
		}
	}
	return nil
}

func (w *worker) join() error {
	r, err := w.ask("POST", "join", fmt.Sprintf(`{"member":%q,"topics":["work"],"session_ms":%d}`, w.id, memberSession.Milliseconds()))
	if err != nil {
		return err
	}
	var a shareOut
	if err := r.JSON(&a); err != nil || r.Status != 200 {
		return fmt.Errorf("join: %s", &r)
	}
	w.learn(&a)
	return nil
}

// learn begins and ends what an answer says. Nothing is being handled at this moment, so the generation may be named next.
func (w *worker) learn(a *shareOut) {
	now := time.Now()
	w.generation = a.Generation
	assigned := map[uint32]bool{}
	for _, p := range a.Assigned {
		assigned[p.Partition] = true
	}
	w.lose(func(p uint32) bool { return !assigned[p] }, now)
	for p := range assigned {
		if _, has := w.since[p]; !has {
			w.since[p] = now
		}
	}
}

// lose ends tenures at a time, or when the session was over if that was before.
func (w *worker) lose(which func(uint32) bool, at time.Time) {
	if over := w.answered.Add(memberSession); over.Before(at) {
		at = over
	}
	w.crew.mu.Lock()
	defer w.crew.mu.Unlock()
	for p, since := range w.since {
		if which(p) {
			w.crew.tenures = append(w.crew.tenures, tenure{w.id, p, since, at})
			delete(w.since, p)
		}
	}
}

func (w *worker) ask(method, call, body string) (proc.Response, error) {
	return w.send(method, "/broker/groups/crew/"+call, body)
}

// send asks one node after the other. While nobody answers the session may end, and with it everything the member has.
func (w *worker) send(method, target, body string) (r proc.Response, err error) {
	for began := time.Now(); time.Since(began) < proc.HangGuard; w.node++ {
		sent := time.Now()
		r, err = follow(w.crew.g.nodes[w.node%len(w.crew.g.nodes)].http, method, target, []byte(body))
		if time.Since(w.answered) > memberSession {
			w.lose(func(uint32) bool { return true }, time.Now())
		}
		if err == nil && final(&r) {
			if r.Status == 200 {
				w.answered = sent
			}
			return r, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return r, fmt.Errorf("%s %s: %w: %s, %v", method, target, errUnanswered, &r, err)
}

func (c *crew) handle(member string, h handled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hands := c.hands[h]; len(hands) == 0 || hands[len(hands)-1] != member {
		c.hands[h] = append(hands, member)
	}
}

func (c *crew) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.hands)
}

// check looks for two tenures of one partition that overlap, and returns the pauses between them.
func (c *crew) check(t *testing.T) (pauses []time.Duration) {
	t.Helper()
	slices.SortFunc(c.tenures, func(a, b tenure) int {
		if a.partition != b.partition {
			return int(a.partition) - int(b.partition)
		}
		return a.begin.Compare(b.begin)
	})
	for i := 1; i < len(c.tenures); i++ {
		a, b := c.tenures[i-1], c.tenures[i]
		switch {
		case a.partition != b.partition || a.member == b.member:
		case b.begin.Before(a.end):
			t.Errorf("partition %d: %s handles it from %v on, %s until %v", b.partition, b.member, b.begin, a.member, a.end)
		default:
			pauses = append(pauses, b.begin.Sub(a.end))
		}
	}
	slices.Sort(pauses)
	return pauses
}

func TestMembersShareWorkWhileSomeDie(t *testing.T) {
	t.Parallel()
	const partitions = 9
	g := runGroup(t, 3, proc.Options{})
	if r := g.any("POST", "/broker/topics", fmt.Appendf(nil, `{"name":"work","partitions":%d}`, partitions)); r.Status/100 != 2 {
		t.Fatal(r.String())
	}
	c := &crew{g: g, hands: map[handled][]string{}, errs: make(chan error, 100)}
	workers := []*worker{c.hire("a", 0), c.hire("b", 1), c.hire("c", 2)}
	produced := 0
	put := func(count int) {
		for range count {
			g.put("work", produced%partitions, counted(produced, 100))
			produced++
		}
	}
	some := scale(600, 200, 60)
	put(some)
	for round := range scale(5, 2, 1) {
		close(workers[0].die)
		workers[0].dead.Wait()
		put(some)
		workers = append(workers[1:], c.hire(fmt.Sprint("new", round), round))
		put(some)
		leader := g.leader()
		mustKill(t, leader.Server)
		put(some)
		g.start(leader)
		put(some)
	}
	g.eventually("all are handled", func() bool {
		select {
		case err := <-c.errs:
			t.Fatal(err)
		default:
		}
		return c.count() == produced
	})
	for _, w := range workers {
		close(w.stop)
	}
	c.done.Wait()
	close(c.errs)
	for err := range c.errs {
		t.Error(err)
	}
	pauses := c.check(t)
	twice := 0
	for _, hands := range c.hands {
		if len(hands) > 1 {
			twice++
		}
	}
	t.Logf("%d messages, all handled, %d of them by a second member after the first had lost the partition; %d tenures, none overlap; "+
		"%d commits fenced, live members told to join again %d times", produced, twice, len(c.tenures), c.fenced.Load(), c.again.Load())
	if n := len(pauses); n > 0 {
		t.Logf("a partition without a member: %d times, median %v, longest %v", n, pauses[n/2], pauses[n-1])
	}
}
