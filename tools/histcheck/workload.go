package main

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"ayder/internal/testkit/proc"
)

// The load: clients that do one thing after the other, each through a node picked anew, on the few partitions
// that are being worked on at the moment. A partition that has had its share of operations makes room for a
// fresh one, so that each history stays short while clients still meet on the same partition all the time.

// world is what the clients share.
type world struct {
	seed      uint64
	began     time.Time
	addresses []string
	share     int64 // operations of a partition before the next takes its place
	pause     time.Duration
	faults    *shared

	// Atomic because all clients use them; nothing else is ordered by them.
	ids    atomic.Uint64                // of operations
	active [activeMax]atomic.Int64      // the partition in each place
	worked [activeMax]atomic.Int64      // operations on it so far
	fresh  atomic.Int64                 // the next partition
	known  [partitionsAll]atomic.Uint64 // a next offset that somebody was told
}

// newWorld begins with the first partitions. operations is how many there will be, at most.
func newWorld(seed uint64, addresses []string, operations int64, pause time.Duration, f *shared) *world {
	w := &world{seed: seed, addresses: addresses, pause: pause, faults: f}
	w.share = max(partitionOps, operations/(partitionsAll-activeMax)+1)
	for i := range w.active {
		w.active[i].Store(int64(i))
	}
	w.fresh.Store(activeMax)
	return w
}

// partition picks one for an operation.
func (w *world) partition(random *rand.Rand) int {
	i := random.IntN(activeMax)
	if w.worked[i].Add(1) == w.share {
		if next := w.fresh.Add(1) - 1; next < partitionsAll {
			w.active[i].Store(next)
			w.worked[i].Store(0)
		}
	}
	return int(w.active[i].Load())
}

// learn remembers that a partition has at least next messages.
func (w *world) learn(partition int, next uint64) {
	for known := &w.known[partition]; ; {
		old := known.Load()
		if next <= old || known.CompareAndSwap(old, next) {
			return
		}
	}
}

func (w *world) now() int64 { return int64(time.Since(w.began)) }

// client is one goroutine of the load.
type client struct {
	*world
	number int
	random *rand.Rand
	caller *caller
	ops    []op
	value  []byte
}

func newClient(w *world, number int, dial func(string) (*proc.Client, error)) *client {
	return &client{
		world: w, number: number, random: rand.New(rand.NewPCG(w.seed, clientStream+uint64(number))),
		caller: newCaller(dial, w.faults),
	}
}

// run works until done.
func (c *client) run(done <-chan struct{}) {
	defer c.caller.close()
	for {
		pause := c.pause/2 + time.Duration(c.random.Int64N(int64(c.pause)+1))
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
		o := c.begin()
		c.perform(&o)
		if o.outcome == outcomeRefused {
			time.Sleep(pauseRefused/2 + time.Duration(c.random.Int64N(int64(pauseRefused))))
		}
	}
}

// mix is how often each kind occurs, in percent, in the order of the kinds. Committed offsets are read with messages.
var mix = [kindCount]int{kindAppend: 26, kindKeyed: 16, kindSwap: 18, kindRead: 26, kindCommit: 6, kindFollower: 8}

// begin decides what comes next.
func (c *client) begin() op {
	o := op{client: c.number, node: c.pickNode(), partition: c.partition(c.random)}
	for dice := c.random.IntN(100); dice >= mix[o.kind]; o.kind++ {
		dice -= mix[o.kind]
	}
	if o.kind == kindRead && c.random.IntN(oldReadEvery) == 0 {
		o.partition = c.random.IntN(int(min(c.fresh.Load(), partitionsAll)))
	}
	return o
}

// pickNode avoids nodes that have just not answered, if there are others.
func (c *client) pickNode() (node int) {
	for range len(c.addresses) {
		node = c.random.IntN(len(c.addresses))
		if time.Now().After(c.caller.shun[c.addresses[node]]) {
			return node
		}
	}
	return node
}

// perform carries an operation out and records it.
func (c *client) perform(o *op) {
	o.id = c.ids.Add(1)
	o.call = c.now()
	switch o.kind {
	case kindAppend, kindSwap:
		c.write(o)
	case kindKeyed:
		c.writeKeyed(o)
	case kindCommit:
		c.commit(o)
	default:
		c.read(o)
	}
}

// record takes a settled operation into the history.
func (c *client) record(o *op) {
	o.ret = c.now()
	c.ops = append(c.ops, *o)
}

// write is a produce that is sent once.
func (c *client) write(o *op) {
	c.value = appendValue(c.value[:0], c.seed, o.id)
	target := fmt.Sprintf("/broker/topics/%s/produce?partition=%d", topic, o.partition)
	switch dice := c.random.IntN(100); {
	case o.kind == kindSwap:
		o.expect = c.known[o.partition].Load()
		target += fmt.Sprintf("&expected_offset=%d", o.expect)
	case dice < percentAsync:
		target += "&concern=async" // acknowledged by one disk: it may be lost, so its outcome is not known
	case dice < percentAsync+percentAll:
		target += "&concern=sync-all"
	}
	r, out := c.caller.ask(c.addresses[o.node], "POST", target, c.value)
	o.outcome = out
	c.accept(o, &r)
	c.record(o)
}

// writeKeyed is a produce with an idempotency key, which is sent, to one node after the other, until it is answered.
func (c *client) writeKeyed(o *op) {
	c.value = appendValue(c.value[:0], c.seed, o.id)
	target := fmt.Sprintf("/broker/topics/%s/produce?partition=%d&idempotency_key=%d-%d", topic, o.partition, c.seed, o.id)
	uncertain, node := false, o.node
	for deadline := time.Now().Add(operationWait); ; node = c.pickNode() {
		r, out := c.caller.ask(c.addresses[node], "POST", target, c.value)
		o.outcome = out
		if out == outcomeOK {
			if a := c.accept(o, &r); a.Duplicate && !uncertain {
				c.faults.addf("%s: answered as a duplicate at its first try", o.where())
			}
			break
		}
		uncertain = uncertain || out == outcomeUnknown
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(pauseRefused)
	}
	if uncertain && o.outcome == outcomeRefused {
		o.outcome = outcomeUnknown
	}
	c.record(o)
}

// accept takes over what the answer to a write promises.
func (c *client) accept(o *op, r *proc.Response) (a proc.Append) {
	if o.outcome != outcomeOK && o.outcome != outcomeFailed {
		return a
	}
	if o.outcome == outcomeFailed {
		o.next = c.told(o, r)
		c.learn(o.partition, o.next)
		return a
	}
	err := r.JSON(&a)
	switch synced := a.Synced != nil && *a.Synced; {
	case err != nil || !a.OK || a.Partition != o.partition || !synced && !a.Duplicate:
		c.faults.addf("%s: a wrong answer: %s, %v", o.where(), r, err)
	case !a.Durable: // async
		o.outcome = outcomeUnknown
		return a
	}
	o.offset = a.Offset
	c.learn(o.partition, a.Offset+1)
	return a
}

// told is the next offset in a refusal.
func (c *client) told(o *op, r *proc.Response) uint64 {
	var body struct {
		Next *uint64 `json:"next_offset"`
	}
	if err := r.JSON(&body); err != nil || body.Next == nil {
		c.faults.addf("%s: a refusal without next_offset: %s", o.where(), r)
		return 0
	}
	return *body.Next
}

// commit moves the group's offset to somewhere that is known to exist.
func (c *client) commit(o *op) {
	o.offset = uint64(c.random.Int64N(int64(c.known[o.partition].Load()) + 1))
	body := fmt.Appendf(nil, `{"topic":%q,"group":%q,"partition":%d,"offset":%d}`, topic, group, o.partition, o.offset)
	r, out := c.caller.ask(c.addresses[o.node], "POST", "/broker/commit", body)
	if o.outcome = out; out == outcomeFailed {
		c.faults.addf("%s: offset %d, which exists: %s", o.where(), o.offset, &r)
	}
	c.record(o)
}

// page is the answer to a consume.
type page struct {
	proc.Page
	Role string `json:"role"`
}

// read is a consume. On a follower, unless it is asked for what the leader has, it shows what that follower has.
func (c *client) read(o *op) {
	known := c.known[o.partition].Load()
	o.from = known - min(known, uint64(c.random.IntN(readBackMax)))
	target := fmt.Sprintf("/broker/consume/%s/%s/%d?encoding=b64&offset=%d&limit=%d", topic, group, o.partition, o.from, pageLimit)
	if o.kind == kindRead {
		target += "&consistency=leader"
	}
	r, out := c.caller.ask(c.addresses[o.node], "GET", target, nil)
	switch o.outcome = out; out {
	case outcomeOK:
		c.view(o, &r)
	case outcomeFailed: // 416
		c.beyond(o, &r)
	default:
		c.record(o)
	}
}

// view records a page, and the group's offset that came with it.
func (c *client) view(o *op, r *proc.Response) {
	var p page
	if err := r.JSON(&p); err != nil {
		c.faults.addf("%s: %v", o.where(), err)
		return
	}
	if o.kind == kindFollower && p.Role != "follower" {
		o.kind = kindRead // the node leads: its answer is held to that
	}
	if o.kind == kindRead && p.Role == "follower" {
		c.faults.addf("%s: asked for what the leader has, and a follower answered", o.where())
		return
	}
	for i, m := range p.Messages {
		id, err := parseValue(c.seed, m.ValueB64)
		if err != nil || m.Offset != o.from+uint64(i) {
			c.faults.addf("%s: offset %d in place %d of a page from %d: %v", o.where(), m.Offset, i, o.from, err)
		}
		o.ids = append(o.ids, id)
	}
	o.next, o.more = p.Next, p.Truncated
	c.record(o)
	if o.kind == kindRead {
		c.learn(o.partition, p.Next)
		c.record(&op{
			client: o.client, node: o.node, partition: o.partition, kind: kindCommitted, call: o.call, id: o.id, offset: p.Committed,
		})
	}
}

// beyond records a read that began behind the end. What is known to be there is there for the leader, so the model
// will hardly accept it; a follower may not have it yet.
func (c *client) beyond(o *op, r *proc.Response) {
	o.next = c.told(o, r)
	o.outcome = outcomeOK
	if o.kind == kindFollower {
		o.outcome = outcomeFailed
	}
	c.record(o)
}
