package raftlog

import (
	"errors"
	"reflect"
	"testing"
	"unsafe"

	"github.com/hashicorp/raft"
)

// A bubble ends when all its goroutines have ended, but hashicorp/raft leaves futures unanswered at shutdown: what
// waits in its channels then. A goroutine that waits for one stays for ever: harmless in a process that is about to end, fatal
// to a simulation that starts and stops hundreds of nodes. So what was left behind is answered here, by reflection.

var errSimStuck = errors.New("raft stopped and left this unanswered")

// raftQueues are the fields of raft.Raft in which futures may be left.
var raftQueues = []string{"applyCh", "verifyCh", "fsmMutateCh", "leadershipTransferCh"}

// answerStuck answers every future in the channels of a raft that has stopped, and returns how many there were.
func answerStuck(r *raft.Raft) (n int) {
	for _, name := range raftQueues {
		c := exposed(reflect.ValueOf(r).Elem().FieldByName(name))
		for {
			x, ok := c.TryRecv()
			if !ok {
				break
			}
			n += answer(x)
		}
	}
	return n
}

// answer answers a future, or all that are in what the state machine was to get.
func answer(x reflect.Value) (n int) {
	switch x.Kind() {
	case reflect.Interface:
		return answer(x.Elem())
	case reflect.Slice:
		for i := range x.Len() {
			n += answer(x.Index(i))
		}
		return n
	case reflect.Pointer:
		if x.IsNil() {
			return 0
		}
	default:
		return 0
	}
	if f := x.Elem().FieldByName("future"); f.IsValid() {
		return answer(f)
	}
	f := x.Elem().FieldByName("errCh")
	if !f.IsValid() || f.IsNil() || x.Elem().FieldByName("responded").Bool() {
		return 0
	}
	exposed(f).TrySend(reflect.ValueOf(&errSimStuck).Elem())
	return 1
}

// exposed is an unexported field that may be used.
func exposed(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// The names of raft's fields are its own business: if they change, this says so.
func TestAnswerStuckKnowsRaft(t *testing.T) {
	r := new(raft.Raft)
	for _, name := range raftQueues {
		f := exposed(reflect.ValueOf(r).Elem().FieldByName(name))
		f.Set(reflect.MakeChan(f.Type(), 4))
	}
	v := reflect.ValueOf(r).Elem()
	applies := exposed(v.FieldByName("applyCh"))
	future := reflect.New(applies.Type().Elem().Elem())
	answers := exposed(future.Elem().FieldByName("errCh"))
	answers.Set(reflect.MakeChan(answers.Type(), 1))
	applies.Send(future)
	if n := answerStuck(r); n != 1 {
		t.Fatalf("%d answered", n)
	}
	if err := future.Interface().(raft.Future).Error(); !errors.Is(err, errSimStuck) {
		t.Fatal(err)
	}
}
