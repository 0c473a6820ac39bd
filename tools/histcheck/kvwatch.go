package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	last   int64 // id of the last event, -1: before all
	broken int   // streams that ended
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
			w.faults.addf("a watcher behind %d: %v", w.last, err)
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
	c.Header += "Last-Event-ID: " + strconv.FormatInt(w.last, 10) + "\r\n"
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
	for w.last < until || until < 0 {
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
	case e.id <= w.last:
		w.faults.addf("a watcher is told of %d behind %d", e.id, w.last)
	}
	w.last = e.id
	w.events = append(w.events, e)
	return nil
}

// finalChanges reads all that every node's log has of the namespace, until the last change that the leader knows of.
func (r *trial) finalChanges() (all []kvEvent, err error) {
	c := newCaller(r.network.dial, r.faults)
	defer c.close()
	var list struct {
		Last string `json:"last_event_id"`
	}
	if !until(settleWait, func() bool {
		answer, out := c.ask(r.cluster.nodes[0].address, "GET", "/kv/"+group+"?consistency=leader", nil)
		return out == outcomeOK && json.Unmarshal(answer.Body, &list) == nil
	}) {
		return nil, errors.New("the keys are not listed")
	}
	last, err := strconv.ParseInt(list.Last, 10, 64)
	if err != nil || last < 0 {
		return nil, fmt.Errorf("last_event_id %q: %w", list.Last, err)
	}
	for _, n := range r.cluster.nodes {
		w := &kvWatcher{world: r.world, dial: r.network.dial, last: -1}
		if !until(settleWait, func() bool {
			err = w.follow(n.address, nil, last)
			return err == nil || errors.Is(err, errReset)
		}) || err != nil {
			return nil, fmt.Errorf("changes of %s, of which %d of %d came: %w", n.address, w.last, last, err)
		}
		changes := w.events[:len(w.events):len(w.events)]
		if all != nil && !slices.Equal(all, changes) {
			r.faults.addf("%s has %d other changes than the node before, which has %d", n.address, len(changes), len(all))
		}
		all = changes
	}
	return all, nil
}

// seen holds what watchers saw against what there was.
func (w *kvWatcher) seen(f *shared, all []kvEvent) {
	want := all
	for len(want) > 0 && want[len(want)-1].id > w.last {
		want = want[:len(want)-1]
	}
	if !slices.Equal(w.events, want) {
		at := 0
		for at < min(len(want), len(w.events)) && want[at] == w.events[at] {
			at++
		}
		f.addf("a watcher saw %d changes up to %d, there are %d; they differ from number %d on", len(w.events), w.last, len(want), at)
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
