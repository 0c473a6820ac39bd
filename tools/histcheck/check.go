package main

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// The search: is there an order of a partition's operations, in keeping with their times, in which its
// model gives the answers that were given? Partitions share nothing, so each is searched by itself, as many
// at a time as there are processors. A history that has no such order is searched once more with the
// longest partial orders kept, which makes the picture.

// verdict is what the search says about one object of one partition.
type verdict struct {
	partition int
	object    string // "log" or "committed"
	result    porcupine.CheckResult
	picture   string // file with the visualisation, if there is something to see
}

func (v verdict) String() string {
	text := fmt.Sprintf("partition %d, %s: ", v.partition, v.object)
	switch v.result {
	case porcupine.Ok:
		return text + "linearizable"
	case porcupine.Unknown:
		return text + "the search took too long"
	}
	return text + "NOT linearizable, see " + v.picture
}

// object is one of the two that a partition holds.
type object struct {
	name  string
	model porcupine.Model
	owns  func(*op) bool
}

func objects() []object {
	return []object{
		{"log", logModel(), (*op).ofLog},
		{"committed", committedModel(), (*op).ofCommitted},
	}
}

// search checks every partition of a resolved history and returns what is not linearizable, and how many
// searches there were. Pictures go to dir.
func search(h history, dir string) (bad []verdict, count int, err error) {
	var mu sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for partition, part := range h.partitions() {
		for _, ob := range objects() {
			operations := part.operations(ob.owns)
			if len(operations) == 0 {
				continue
			}
			count++
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				v, pictureErr := judge(ob, partition, operations, dir)
				mu.Lock()
				defer mu.Unlock()
				if v.result != porcupine.Ok {
					bad = append(bad, v)
				}
				if pictureErr != nil {
					err = pictureErr
				}
			})
		}
	}
	running.Wait()
	slices.SortFunc(bad, func(a, b verdict) int { return a.partition - b.partition })
	return bad, count, err
}

// operations are those that an object owns, in porcupine's form. The whole op is the input: the model steps
// by what was asked and answered together.
func (h history) operations(owns func(*op) bool) (list []porcupine.Operation) {
	for i := range h {
		if o := &h[i]; owns(o) {
			list = append(list, porcupine.Operation{ClientId: o.client, Input: o, Call: o.call, Output: o, Return: o.ret})
		}
	}
	return list
}

// judge searches one history.
func judge(ob object, partition int, operations []porcupine.Operation, dir string) (verdict, error) {
	v := verdict{partition: partition, object: ob.name}
	v.result = porcupine.CheckOperationsTimeout(ob.model, operations, searchWait)
	if v.result != porcupine.Illegal {
		return v, nil
	}
	cutForever(operations)
	_, info := porcupine.CheckOperationsVerbose(ob.model, operations, searchWait)
	v.picture = filepath.Join(dir, fmt.Sprintf("partition-%d-%s.html", partition, ob.name))
	return v, porcupine.VisualizePath(ob.model, info, v.picture)
}

// cutForever lets unanswered operations return just behind everything else, so that a picture can be drawn.
func cutForever(operations []porcupine.Operation) {
	var last int64
	for _, o := range operations {
		if o.Return != forever {
			last = max(last, o.Return)
		}
		last = max(last, o.Call)
	}
	for i := range operations {
		if operations[i].Return == forever {
			operations[i].Return = last + int64(time.Millisecond)
		}
	}
}

// printTally shows how many operations of which kind ended how.
func printTally(out io.Writer, h history) {
	t := h.tally()
	fmt.Fprintf(out, "%-16s %9s %9s %9s %9s\n", "operations", outcomeNames[0], outcomeNames[1], outcomeNames[2], outcomeNames[3])
	for k := range kindCount {
		fmt.Fprintf(out, "%-16s %9d %9d %9d %9d\n", k, t[k][0], t[k][1], t[k][2], t[k][3])
	}
}
