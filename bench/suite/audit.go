package main

import "fmt"

// The audit of acknowledged messages: each must be where its acknowledgement said, and nowhere else. What a writer was
// at when it was stopped may be there as well, so numbers that were never acknowledged are counted and no fault.

// verdict counts what was found in the log; several add up.
type verdict struct {
	messages int64 // in the log
	lost     int64 // acknowledged, and not at their offsets
	twice    int64 // copies beyond the first
	unasked  int64 // never acknowledged, which is no fault
}

func (v *verdict) add(o verdict) {
	v.messages, v.lost, v.twice, v.unasked = v.messages+o.messages, v.lost+o.lost, v.twice+o.twice, v.unasked+o.unasked
}

// audit reads what every writer has written, as one node has it.
func (ws *writers) audit(addr string) (v verdict, err error) {
	for _, w := range ws.list {
		found, err := w.audit(addr)
		if err != nil {
			return v, err
		}
		v.add(found)
	}
	return v, nil
}

// audit reads one partition.
func (w *writer) audit(addr string) (v verdict, err error) {
	seen := make([]bool, len(w.acked))
	unasked := map[int]bool{}
	v.lost = int64(len(w.acked))
	v.messages, err = readMessages(addr, writersTopic, w.partition, func(offset int64, message string) error {
		number, err := numberOf(w.partition, message)
		if err != nil || number < 0 {
			return fmt.Errorf("offset %d: %w", offset, err)
		}
		if number >= len(w.acked) {
			if unasked[number] {
				v.twice++
			}
			unasked[number] = true
			return nil
		}
		if seen[number] {
			v.twice++
		}
		seen[number] = true
		if w.acked[number] == offset {
			v.lost--
		}
		return nil
	})
	v.unasked = int64(len(unasked))
	return v, err
}
