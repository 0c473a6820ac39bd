package main

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// What a key must behave like, for porcupine: a register with a version, which grows by one with every change.
//
// A value with a time to live may end by itself, which is a change like any other that nobody asked for. So after such a
// put there are two states as long as nobody has looked; a look decides. It may not have ended before its time, counted
// from when the put was called, and must have ended once its time has passed since the put was answered.

// kvRegister is a key's state.
type kvRegister struct {
	cas   uint64
	live  bool
	value uint64
	early int64 // when the value may have ended by itself, 0: it lives for ever
	late  int64 // when it must have, forever: nobody knows
}

func (s kvRegister) shown() uint64 {
	if !s.live {
		return 0
	}
	return s.cas
}

// stepKV returns the states that an operation may leave.
func stepKV(s kvRegister, o *kvOp) (next []any) {
	if !s.live || s.early == 0 || o.call <= s.late {
		next = s.after(o, next)
	}
	if s.live && s.early != 0 && o.ret >= s.early {
		next = kvRegister{cas: s.cas + 1}.after(o, next)
	}
	return next
}

func (s kvRegister) after(o *kvOp, next []any) []any {
	unknown := o.outcome == outcomeUnknown
	switch {
	case o.kind == kvGet && o.outcome == outcomeOK:
		if s.live && s.value == o.id && s.cas == o.cas {
			next = append(next, s)
		}
	case o.kind == kvSwap && o.expect != s.shown():
		if unknown || o.outcome == outcomeFailed && o.cas == s.shown() {
			next = append(next, s)
		}
	case o.outcome == outcomeFailed: // a get or delete that found nothing
		if o.kind != kvSwap && !s.live {
			next = append(next, s)
		}
	case o.kind == kvDelete && !s.live:
		if unknown {
			next = append(next, s)
		}
	case unknown && o.cas == 0 || o.cas == s.cas+1:
		next = append(next, s.changed(o))
	}
	return next
}

func (s kvRegister) changed(o *kvOp) kvRegister {
	n := kvRegister{cas: s.cas + 1, live: o.kind != kvDelete, value: o.id}
	if o.kind == kvDelete {
		n.value = 0
	}
	if o.ttl > 0 {
		n.early, n.late = o.call+int64(o.ttl-kvClockSlack), forever
		if o.ret != forever {
			n.late = o.ret + int64(o.ttl+kvClockSlack)
		}
	}
	return n
}

func kvModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init:              func() []any { return []any{kvRegister{}} },
		Step:              func(state, input, _ any) []any { return stepKV(state.(kvRegister), input.(*kvOp)) },
		DescribeOperation: func(input, _ any) string { return input.(*kvOp).describe() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
	return m.ToModel()
}

// resolveKV settles what nobody was told by the changes that the log has in the end: a put that is not among them never
// took effect. Without them such puts may have, at any time.
func resolveKV(ops []kvOp, changes []kvEvent) (settled []kvOp) {
	final := make(map[uint64]uint64)
	for _, e := range changes {
		if e.name == "put" {
			final[e.value] = e.cas
		}
	}
	for _, o := range ops {
		switch {
		case o.outcome == outcomeRefused || o.outcome == outcomeUnknown && o.kind == kvGet:
			continue
		case o.outcome == outcomeUnknown:
			o.ret = forever
			if cas, ok := final[o.id]; ok && o.kind <= kvSwap {
				o.outcome, o.cas = outcomeOK, cas
			} else if changes != nil && o.kind <= kvSwap {
				continue
			}
		}
		settled = append(settled, o)
	}
	return settled
}

// searchKV checks every key's history.
func searchKV(ops []kvOp, dir string) (bad []string, count int) {
	byKey := make(map[int][]porcupine.Operation)
	for i := range ops {
		o := &ops[i]
		byKey[o.key] = append(byKey[o.key], porcupine.Operation{ClientId: o.client, Input: o, Call: o.call, Output: o, Return: o.ret})
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for key, operations := range byKey {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			text := judgeKV(key, operations, dir)
			mu.Lock()
			defer mu.Unlock()
			if text != "" {
				bad = append(bad, text)
			}
		})
	}
	running.Wait()
	return bad, len(byKey)
}

// judgeKV searches one history; it returns what is wrong with it.
func judgeKV(key int, operations []porcupine.Operation, dir string) string {
	model := kvModel()
	switch porcupine.CheckOperationsTimeout(model, operations, searchWait) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return fmt.Sprintf("key %d: the search took too long", key)
	}
	cutForever(operations)
	_, info := porcupine.CheckOperationsVerbose(model, operations, searchWait)
	picture := filepath.Join(dir, fmt.Sprintf("key-%d.html", key))
	if err := porcupine.VisualizePath(model, info, picture); err != nil {
		picture = err.Error()
	}
	return fmt.Sprintf("key %d: NOT linearizable, see %s", key, picture)
}

// printKV shows how many operations of which kind ended how.
func printKV(out io.Writer, ops []kvOp) {
	var t [4][outcomeCount]int
	for i := range ops {
		t[ops[i].kind][ops[i].outcome]++
	}
	for k, n := range t {
		fmt.Fprintf(out, "%-16s %9d %9d %9d %9d\n", "key: "+kvNames[k], n[0], n[1], n[2], n[3])
	}
}

// kvClockSlack is what clocks in milliseconds, and a batch that was opened before the put, may make of a time to live.
const kvClockSlack = 20 * time.Millisecond
