package api

import (
	"errors"
	"fmt"
	"testing"
)

// A refusal that counts on batches in flight is not given before they are committed, and keeps its place among the
// answers of its connection.
func TestARefusalWaitsForWhatItCountsOn(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce", "a"))
	f.await(1)
	other, ro := f.dial()
	fmt.Fprint(other, post("/broker/topics/t/produce?expected_offset=7", "b"))
	waitFor(t, "the refusal to be parked", func() bool { return f.parked() == 2 })
	f.commit(1)
	expect(t, r, `200 "offset":0`)
	expect(t, ro, `412 "next_offset":1`)
}

func TestARefusalIsLostWithWhatItCountsOn(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce", "a")+post("/broker/topics/t/produce?expected_offset=7", "b"))
	waitFor(t, "both to be parked", func() bool { return f.parked() == 2 })
	f.depose("n2")
	expect(t, r, "503 leadership_lost", "503 leadership_lost")
}

// With nothing in flight a refusal is as good as the lease.
func TestARefusalWithoutALeaseAsksTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		path, body, want string
		barrier          error
	}{
		"offset":            {"/broker/topics/t/produce?expected_offset=7", "b", `412 "next_offset":0`, nil},
		"topic":             {"/broker/topics", `{"name":"t","partitions":9}`, "409 topic_exists", nil},
		"group above":       {"/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":5}`, "416 offset_out_of_range", nil},
		"partition":         {"/broker/topics/t/produce?partition=5", "b", "404 unknown_partition", nil},
		"not the leader":    {"/broker/topics/t/produce?expected_offset=7", "b", "503 no_leader", errors.New("deposed")},
		"no question of it": {"/broker/topics/t/produce?partition=x", "b", "400 bad_parameter", nil},
	} {
		f := newLeader(t, "auto", 1)
		f.cluster.set(func(c *fakeCluster) { c.leased, c.hold = false, true })
		conn, r := f.dial()
		fmt.Fprint(conn, post(c.path, c.body))
		if name != "no question of it" {
			waitFor(t, name+": a barrier", func() bool { return f.cluster.barriers() > 0 })
			f.cluster.pass(c.barrier)
		}
		expect(t, r, c.want)
	}
}
