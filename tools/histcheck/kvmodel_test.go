package main

import (
	"testing"
	"time"
)

func putOp(call, ret int64, id, cas uint64, ttl time.Duration) kvOp {
	return kvOp{kind: kvPut, call: call, ret: ret, id: id, cas: cas, ttl: ttl}
}

func getOp(call, ret int64, id, cas uint64) kvOp {
	return kvOp{kind: kvGet, call: call, ret: ret, id: id, cas: cas}
}

func missOp(call, ret int64) kvOp {
	return kvOp{kind: kvGet, outcome: outcomeFailed, call: call, ret: ret}
}

// What the model takes for the behaviour of a key, and what it does not.
func TestKVModel(t *testing.T) {
	const second = int64(time.Second)
	swap := func(call, ret int64, id, expect, cas uint64, o outcome) kvOp {
		return kvOp{kind: kvSwap, call: call, ret: ret, id: id, expect: expect, cas: cas, outcome: o}
	}
	for name, c := range map[string]struct {
		ops  []kvOp
		good bool
	}{
		"put and get":                {[]kvOp{putOp(1, 2, 7, 1, 0), getOp(3, 4, 7, 1)}, true},
		"stale get":                  {[]kvOp{putOp(1, 2, 7, 1, 0), putOp(3, 4, 8, 2, 0), getOp(5, 6, 7, 1)}, false},
		"get of a put in flight":     {[]kvOp{putOp(1, 9, 7, 1, 0), missOp(2, 3), getOp(4, 5, 7, 1)}, true},
		"seen and gone":              {[]kvOp{putOp(1, 9, 7, 1, 0), getOp(2, 3, 7, 1), missOp(4, 5)}, false},
		"the same cas twice":         {[]kvOp{putOp(1, 2, 7, 1, 0), putOp(3, 4, 8, 1, 0)}, false},
		"two swaps of one version":   {[]kvOp{putOp(1, 2, 7, 1, 0), swap(3, 9, 8, 1, 2, outcomeOK), swap(3, 9, 9, 1, 3, outcomeOK)}, false},
		"one swap declined":          {[]kvOp{putOp(1, 2, 7, 1, 0), swap(3, 9, 8, 1, 2, outcomeOK), swap(3, 9, 9, 1, 2, outcomeFailed)}, true},
		"declined for nothing":       {[]kvOp{putOp(1, 2, 7, 1, 0), swap(3, 9, 9, 1, 1, outcomeFailed)}, false},
		"delete and create":          {[]kvOp{putOp(1, 2, 7, 1, 0), {kind: kvDelete, call: 3, ret: 4, cas: 2}, swap(5, 6, 8, 0, 3, outcomeOK)}, true},
		"cas again after a delete":   {[]kvOp{putOp(1, 2, 7, 1, 0), {kind: kvDelete, call: 3, ret: 4, cas: 2}, swap(5, 6, 8, 0, 1, outcomeOK)}, false},
		"delete of nothing":          {[]kvOp{{kind: kvDelete, outcome: outcomeFailed, call: 3, ret: 4}, putOp(5, 6, 7, 1, 0)}, true},
		"nothing where something is": {[]kvOp{putOp(1, 2, 7, 1, 0), {kind: kvDelete, outcome: outcomeFailed, call: 3, ret: 4}}, false},
		"expired":                    {[]kvOp{putOp(1, 2, 7, 1, time.Second), getOp(3, 4, 7, 1), missOp(2*second, 2*second+1), putOp(3*second, 3*second+1, 8, 3, 0)}, true},
		"expired and back":           {[]kvOp{putOp(1, 2, 7, 1, time.Second), missOp(second, second+1), getOp(second+2, second+3, 7, 1)}, false},
		"expired too early":          {[]kvOp{putOp(1, 2, 7, 1, time.Second), missOp(second/2, second/2+1)}, false},
		"expired too late":           {[]kvOp{putOp(1, 2, 7, 1, time.Second), getOp(2*second, 2*second+1, 7, 1)}, false},
		"expiry without a change":    {[]kvOp{putOp(1, 2, 7, 1, time.Second), missOp(2*second, 2*second+1), putOp(3*second, 3*second+1, 8, 2, 0)}, false},
		"unanswered and seen":        {[]kvOp{{kind: kvPut, outcome: outcomeUnknown, call: 1, ret: forever, id: 7}, missOp(2, 3), getOp(4, 5, 7, 1)}, true},
		"unanswered and unseen":      {[]kvOp{{kind: kvPut, outcome: outcomeUnknown, call: 1, ret: forever, id: 7}, missOp(2, 3)}, true},
	} {
		bad, _ := searchKV(c.ops, t.TempDir())
		if (len(bad) == 0) != c.good {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

// What nobody was told is settled by the changes that there are.
func TestUnansweredPutsAreSettled(t *testing.T) {
	unknown := kvOp{kind: kvPut, outcome: outcomeUnknown, call: 1, id: 7}
	there := resolveKV([]kvOp{unknown}, []kvEvent{{name: "put", value: 7, cas: 3}})
	if len(there) != 1 || there[0].cas != 3 || there[0].ret != forever || there[0].outcome != outcomeOK {
		t.Error(there)
	}
	if gone := resolveKV([]kvOp{unknown}, []kvEvent{{name: "put", value: 8, cas: 3}}); len(gone) != 0 {
		t.Error(gone)
	}
}

// A watcher that missed a change, or saw it twice, and an acknowledged put that is not there are faults.
func TestWatchersAreHeldToTheChanges(t *testing.T) {
	all := []kvEvent{{0, "put", "k", 1, 7}, {1, "put", "k", 2, 8}, {2, "delete", "k", 3, 0}}
	for name, events := range map[string][]kvEvent{"missed": {all[0], all[2]}, "twice": {all[0], all[1], all[1], all[2]}, "other": {all[0], {1, "put", "k", 2, 9}, all[2]}} {
		f := &shared{}
		w := &kvWatcher{events: events}
		w.last.Store(2)
		w.seen(f, all)
		if f.err() == nil {
			t.Error(name, "is no fault")
		}
	}
	f := &shared{}
	w := &kvWatcher{events: all[:2]}
	w.last.Store(1)
	w.seen(f, all)
	promisedKV(f, []kvOp{putOp(1, 2, 8, 2, 0)}, all)
	if err := f.err(); err != nil {
		t.Error(err)
	}
	for name, o := range map[string]kvOp{
		"lost": putOp(1, 2, 9, 3, 0), "another cas": putOp(1, 2, 8, 3, 0), "refused and there": {kind: kvPut, outcome: outcomeRefused, id: 8},
	} {
		f := &shared{}
		promisedKV(f, []kvOp{o}, all)
		if f.err() == nil {
			t.Error(name, "is no fault")
		}
	}
}
