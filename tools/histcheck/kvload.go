package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"ayder/internal/testkit/proc"
)

// The load on the key-value store: clients that put, compare and set, delete and read keys of one namespace through
// all nodes. A few keys are worked on at a time, and a key that has had its share makes room for the next, as partitions do.
// Some values live for a second or so only, and nobody takes them away.

// kvWorld is what these clients share.
type kvWorld struct {
	*world
	keys   [kvActive]atomic.Int64 // the key in each place
	worked [kvActive]atomic.Int64 // operations on it so far
	fresh  atomic.Int64           // the next key
	known  [kvKeysAll]atomic.Uint64
}

func newKVWorld(w *world) *kvWorld {
	k := &kvWorld{world: w}
	for i := range k.keys {
		k.keys[i].Store(int64(i))
	}
	k.fresh.Store(kvActive)
	return k
}

func (w *kvWorld) key(random *rand.Rand) int {
	i := random.IntN(kvActive)
	if w.worked[i].Add(1) == kvKeyOps {
		if next := w.fresh.Add(1) - 1; next < kvKeysAll {
			w.keys[i].Store(next)
			w.worked[i].Store(0)
		}
	}
	return int(w.keys[i].Load())
}

// kvKind is what an operation on a key does.
type kvKind uint8

const (
	kvPut kvKind = iota
	kvSwap
	kvDelete
	kvGet
)

var kvNames = []string{"put", "compare-and-set", "delete", "get"}

// kvOp is one operation on a key.
type kvOp struct {
	client, key int
	kind        kvKind
	outcome     outcome // declined: 409, and a get or delete that found nothing
	call, ret   int64
	id          uint64 // of a put: names its value; of a get: the value found
	expect      uint64 // of a swap
	cas         uint64 // that was told: of the change, of the value found, or the current one
	ttl         time.Duration
}

func (o *kvOp) describe() string {
	text := fmt.Sprintf("%s(%d", kvNames[o.kind], o.id)
	if o.kind == kvSwap {
		text += fmt.Sprintf(" at %d", o.expect)
	}
	if o.ttl > 0 {
		text += fmt.Sprintf(" for %v", o.ttl)
	}
	text += fmt.Sprintf(") → %s, cas %d", o.outcome, o.cas)
	if o.ret == forever {
		text += " (unanswered)"
	}
	return text
}

// kvClient is one goroutine of the load.
type kvClient struct {
	*kvWorld
	number int
	random *rand.Rand
	caller *caller
	ops    []kvOp
	value  []byte
}

func newKVClient(w *kvWorld, number int, dial func(string) (*proc.Client, error)) *kvClient {
	return &kvClient{
		kvWorld: w, number: number, random: rand.New(rand.NewPCG(w.seed, kvStream+uint64(number))), caller: newCaller(dial, w.faults),
	}
}

func (c *kvClient) run(done <-chan struct{}) {
	defer c.caller.close()
	for {
		select {
		case <-done:
			return
		case <-time.After(c.pause/2 + time.Duration(c.random.Int64N(int64(c.pause)+1))):
		}
		if o := c.perform(); o.outcome == outcomeRefused {
			time.Sleep(pauseRefused)
		}
	}
}

// perform does one thing and records it.
func (c *kvClient) perform() kvOp {
	o := kvOp{client: c.number, key: c.key(c.random)}
	target, method, body := fmt.Sprintf("/kv/%s/k%d", group, o.key), "PUT", []byte(nil)
	switch dice := c.random.IntN(100); {
	case dice < 30:
		o.kind = kvPut
	case dice < 55:
		o.kind, o.expect = kvSwap, c.known[o.key].Load()
		target += fmt.Sprintf("?cas=%d", o.expect)
	case dice < 65:
		o.kind, method = kvDelete, "DELETE"
	default:
		o.kind, method = kvGet, "GET"
		target += "?consistency=leader"
	}
	if o.kind <= kvSwap {
		o.id = c.ids.Add(1)
		c.value = appendValue(c.value[:0], c.seed, o.id)
		body = c.value
		if c.random.IntN(4) == 0 {
			o.ttl = time.Duration(50+c.random.IntN(1500)) * time.Millisecond
			target += map[bool]string{true: "?", false: "&"}[o.kind == kvPut] + fmt.Sprintf("ttl_ms=%d", o.ttl.Milliseconds())
		}
	}
	o.call = c.now()
	r, out := c.caller.ask(c.addresses[c.random.IntN(len(c.addresses))], method, target, body)
	o.ret, o.outcome = c.now(), out
	c.settle(&o, &r)
	c.ops = append(c.ops, o)
	return o
}

// kvAnswer is as much of an answer as there may be.
type kvAnswer struct {
	CAS     uint64  `json:"cas"`
	Current *uint64 `json:"current"`
	Value   []byte  `json:"value"`
	Deleted *bool   `json:"deleted"`
	Durable bool    `json:"durable"`
	Role    string  `json:"role"`
}

// settle takes over what an answer says.
func (c *kvClient) settle(o *kvOp, r *proc.Response) {
	if o.outcome != outcomeOK && o.outcome != outcomeFailed {
		return
	}
	var a kvAnswer
	if err := json.Unmarshal(r.Body, &a); err != nil || a.Role != "" {
		c.faults.addf("key %d: a wrong answer to %s: %s", o.key, kvNames[o.kind], r)
		o.outcome = outcomeUnknown
		return
	}
	o.cas = a.CAS
	switch {
	case r.Status == 409 && (o.kind != kvSwap || a.Current == nil), r.Status == 404 && o.kind != kvGet, o.kind <= kvSwap && r.Status == 200 && !a.Durable:
		c.faults.addf("key %d: a wrong answer to %s: %s", o.key, kvNames[o.kind], r)
	case r.Status == 409:
		o.cas = *a.Current
	case o.kind == kvDelete && (a.Deleted == nil || !*a.Deleted):
		o.outcome = outcomeFailed
	case o.kind == kvGet && r.Status == 200:
		id, err := parseValue(c.seed, a.Value)
		if err != nil {
			c.faults.addf("key %d: %v", o.key, err)
		}
		o.id = id
	}
	known := o.cas
	if o.kind == kvDelete || r.Status == 404 {
		known = 0
	}
	c.known[o.key].Store(known)
}
