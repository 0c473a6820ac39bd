package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ayder/internal/testkit/proc"
)

// Watchers: each reads the namespace's changes as events, from one node until that fails or is stopped, then from another
// one behind the last event it had. In the end what each has seen must be what every node's log has: every change,
// once, in order.

// kvEvent is one change as a watcher was told of it.
type kvEvent struct {
	id    int64
	name  string
	key   string
	cas   uint64
	value uint64 // names the value of a put
}

var errReset = errors.New("the history was compacted")

// kvWatcher is one goroutine.
type kvWatcher struct {
	*world
	dial   func(string) (*proc.Client, error)
	random *rand.Rand
	events []kvEvent
	last   atomic.Int64 // id of the last event, -1: before all; others wait for it
	broken int          // streams that ended
}

func (w *kvWatcher) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		err := w.follow(w.addresses[w.random.IntN(len(w.addresses))], done, -1)
		if errors.Is(err, errReset) {
			w.faults.addf("a watcher behind %d: %v", w.last.Load(), err)
			return
		}
		w.broken++
		time.Sleep(pauseRefused)
	}
}

// follow reads events until the stream breaks, done is closed, or the event until was seen. Silence is a fault of the stream.
func (w *kvWatcher) follow(address string, done <-chan struct{}, until int64) error {
	c, err := w.dial(address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.Timeout = requestWait
	c.Header += "Last-Event-ID: " + strconv.FormatInt(w.last.Load(), 10) + "\r\n"
	if err := c.Send(c.AppendRequest(nil, "GET", "/kv/"+group+"?watch=1", nil)); err != nil {
		return err
	}
	if err := c.Conn.SetReadDeadline(time.Now().Add(requestWait)); err != nil {
		return err
	}
	r := bufio.NewReader(c.Conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	body := bufio.NewReader(answer.Body)
	for w.last.Load() < until || until < 0 {
		select {
		case <-done:
			return nil
		default:
		}
		if err := c.Conn.SetReadDeadline(time.Now().Add(requestWait)); err != nil {
			return err
		}
		if err := w.event(body); err != nil {
			return err
		}
	}
	return nil
}

// event reads one event, or a comment.
func (w *kvWatcher) event(r *bufio.Reader) error {
	e := kvEvent{id: -1}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			if e.id, err = strconv.ParseInt(value, 10, 64); err != nil {
				return err
			}
		case "event":
			e.name = value
		case "data":
			if err := w.data(&e, value); err != nil {
				return err
			}
		case "":
			return w.take(e)
		}
	}
}

func (w *kvWatcher) data(e *kvEvent, text string) error {
	var d struct {
		Key   string `json:"key"`
		CAS   uint64 `json:"cas"`
		Value []byte `json:"value"`
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	e.key, e.cas = d.Key, d.CAS
	if e.name == "put" {
		id, err := parseValue(w.seed, d.Value)
		if err != nil {
			w.faults.addf("event %d: %v", e.id, err)
		}
		e.value = id
	}
	return nil
}

func (w *kvWatcher) take(e kvEvent) error {
	switch {
	case e.name == "reset":
		return errReset
	case e.name == "error":
		return errors.New("the stream ends with an error")
	case e.name == "":
		return nil // a comment
	case e.id <= w.last.Load():
		w.faults.addf("a watcher is told of %d behind %d", e.id, w.last.Load())
	}
	w.last.Store(e.id)
	w.events = append(w.events, e)
	return nil
}

// newKVWatcher begins before everything.
func newKVWatcher(w *world, dial func(string) (*proc.Client, error), random *rand.Rand) *kvWatcher {
	k := &kvWatcher{world: w, dial: dial, random: random}
	k.last.Store(-1)
	return k
}

// lastChange is the number of the last change that the leader knows of.
func (r *trial) lastChange() (last int64, err error) {
	c := newCaller(r.network.dial, r.faults)
	defer c.close()
	var list struct {
		Last string `json:"last_event_id"`
	}
	if !until(settleWait, func() bool {
		answer, out := c.ask(r.cluster.nodes[0].address, "GET", "/kv/"+group+"?consistency=leader", nil)
		return out == outcomeOK && json.Unmarshal(answer.Body, &list) == nil
	}) {
		return 0, errors.New("the keys are not listed")
	}
	last, err = strconv.ParseInt(list.Last, 10, 64)
	if err != nil || last < 0 {
		return 0, fmt.Errorf("last_event_id %q: %w", list.Last, err)
	}
	return last, nil
}

// finalChanges are the namespace's changes up to last: what the watchers saw, and what every node's log still has from
// its beginning on. They must be the same. Nil if there is nobody who knows.
func (r *trial) finalChanges(last int64) (all []kvEvent, err error) {
	if len(r.watching) > 0 {
		all = r.watching[0].until(last)
	}
	compacted := 0
	for _, n := range r.cluster.nodes {
		w := newKVWatcher(r.world, r.network.dial, nil)
		if !until(settleWait, func() bool {
			err = w.follow(n.address, nil, last)
			return err == nil || errors.Is(err, errReset)
		}) {
			return nil, fmt.Errorf("changes of %s, of which %d of %d came: %w", n.address, w.last.Load(), last, err)
		}
		if err != nil {
			compacted++
			continue
		}
		if all == nil {
			all = w.until(last)
		}
		if changes := w.until(last); !slices.Equal(all, changes) {
			r.faults.addf("%s has %d changes, there are %d others", n.address, len(changes), len(all))
		}
	}
	if compacted > 0 {
		fmt.Fprintf(r.out, "%d nodes have given early changes of keys back\n", compacted)
	}
	return all, nil
}

// until is what the watcher saw up to a number.
func (w *kvWatcher) until(last int64) []kvEvent {
	n, _ := slices.BinarySearchFunc(w.events, last+1, func(e kvEvent, id int64) int { return cmp.Compare(e.id, id) })
	return w.events[:n:n]
}

// seen holds what watchers saw against what there was.
func (w *kvWatcher) seen(f *shared, all []kvEvent) {
	want := all
	for len(want) > 0 && want[len(want)-1].id > w.last.Load() {
		want = want[:len(want)-1]
	}
	if len(all) > 0 && w.last.Load() > all[len(all)-1].id {
		w = &kvWatcher{events: w.until(all[len(all)-1].id)}
		w.last.Store(all[len(all)-1].id)
	}
	if !slices.Equal(w.events, want) {
		at := 0
		for at < min(len(want), len(w.events)) && want[at] == w.events[at] {
			at++
		}
		f.addf("a watcher saw %d changes up to %d, there are %d; they differ from number %d on", len(w.events), w.last.Load(), len(want), at)
	}
}

// promisedKV holds the changes that were acknowledged against those that there are.
func promisedKV(f *shared, ops []kvOp, all []kvEvent) {
	cas := make(map[uint64]uint64)
	versions := make(map[string]uint64)
	for _, e := range all {
		if e.name == "put" {
			if cas[e.value] != 0 {
				f.addf("%s: the value %d was put twice", e.key, e.value)
			}
			cas[e.value] = e.cas
		}
		if e.cas != versions[e.key]+1 {
			f.addf("%s: cas %d behind %d", e.key, e.cas, versions[e.key])
		}
		versions[e.key] = e.cas
	}
	for _, o := range ops {
		if o.kind > kvSwap || o.outcome == outcomeUnknown {
			continue
		}
		if got := cas[o.id]; o.outcome == outcomeOK && got != o.cas {
			f.addf("key %d: LOST or changed: put %d had cas %d, now %d", o.key, o.id, o.cas, got)
		} else if o.outcome != outcomeOK && got != 0 {
			f.addf("key %d: put %d was %s and is there", o.key, o.id, o.outcome)
		}
	}
}
