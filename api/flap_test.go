package api

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/engine"
	"ayder/internal/record"
)

// Leadership that comes and goes while clients write, over several loops, with every concern. Proposals are committed,
// lost, or committed by the next leader without this node being told, and the next leader writes, too. What a client
// was told must be true in the log, at the offset that it was told, and every request has its answer, in order.

// flapper moves leadership about.
type flapper struct {
	*clusterFixture
	rng   *rand.Rand
	other *otherNode
	seen  int // frames of the log that other has
}

// flap takes leadership away and gives it back.
func (p *flapper) flap() {
	lost := p.depose([]string{"n2", ""}[p.rng.IntN(2)])
	var known [][]byte
	for _, x := range lost[:p.rng.IntN(len(lost)+1)] {
		known = append(known, x.frame)
	}
	p.foreign(known...)
	if p.rng.IntN(2) == 0 {
		p.raft.Lock()
		p.server.Forget()
		p.raft.Unlock()
	}
	p.catchUp()
	if p.other.engine.Topic([]byte("t")) != nil && p.rng.IntN(2) == 0 {
		p.foreign(p.other.produce(p.t, "t", "theirs", fmt.Sprint("theirs", p.other.index)))
	}
	p.rep.with(func() { p.rep.last = p.rep.stored })
	p.lead()
}

// catchUp gives the other node what it has not seen.
func (p *flapper) catchUp() {
	var frames [][]byte
	p.log.set(func(m *memLog) { frames = m.frames[p.seen:]; p.seen = len(m.frames) })
	for _, b := range frames {
		if h, err := record.ReadHeader(b); err != nil || h.Index > p.other.index { // those that it made it has
			p.other.adopt(p.t, b)
		}
	}
}

// written is one request's message and what was answered.
type written struct {
	path   string
	value  string
	keyed  bool
	status int
	answer map[string]any
}

// request makes up a write with a value of its own.
func request(rng *rand.Rand, number, n int) written {
	w := written{value: fmt.Sprintf("%d-%d", number, n), keyed: rng.IntN(2) == 0}
	query := fmt.Sprintf("?partition=%d", rng.IntN(6))
	query += []string{"", "&concern=async", "&concern=sync-majority", "&concern=sync-all", "&timeout_ms=1", "&timeout_ms=0"}[rng.IntN(6)]
	if w.keyed {
		query += "&idempotency_key=" + w.value
	}
	topic := "t"
	if rng.IntN(20) == 0 {
		topic = fmt.Sprintf("auto%d", rng.IntN(40))
	}
	w.path, w.value = "/broker/topics/"+topic+"/produce"+query, topic+"/"+w.value
	return w
}

// client writes until told to stop and returns everything that it was told. What has a key it tries again.
func (f *clusterFixture) client(number int, stop chan struct{}) (all []written, err error) {
	c, r := f.dial()
	defer c.Close()
	rng := rand.New(rand.NewPCG(uint64(number), 1))
	var again []written
	for n := 0; ; {
		select {
		case <-stop:
			return all, nil
		default:
		}
		var text strings.Builder
		from := len(all)
		all, again = append(all, again...), nil
		for range 1 + rng.IntN(5) {
			all = append(all, request(rng, number, n))
			n++
		}
		for _, w := range all[from:] {
			text.WriteString(post(w.path, w.value))
		}
		if _, err := io.WriteString(c, text.String()); err != nil {
			return all, err
		}
		for i := from; i < len(all); i++ {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return all, fmt.Errorf("answer %d: %w", i, err)
			}
			all[i].status = resp.StatusCode
			if err := json.NewDecoder(resp.Body).Decode(&all[i].answer); err != nil {
				return all, fmt.Errorf("answer %d: %w", i, err)
			}
			if w := all[i]; w.keyed && w.status != 200 && len(again) < 5 {
				again = append(again, written{path: w.path, value: w.value, keyed: true})
			}
		}
	}
}

func TestLeadershipThatComesAndGoes(t *testing.T) {
	for seed, server := range []struct {
		backend string
		loops   int
	}{{"auto", 1}, {readsOn(t), 3}, {"evio", 1}} {
		f := newLeader(t, server.backend, 6, func(o *Options) { o.Loops = server.loops })
		stop := make(chan struct{})
		var running sync.WaitGroup
		results := make([][]written, 6)
		for i := range results {
			running.Go(func() {
				var err error
				if results[i], err = f.client(i, stop); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			})
		}
		p := &flapper{clusterFixture: f, rng: rand.New(rand.NewPCG(uint64(seed), 2)), other: newOtherNode(2)}
		for range 40 {
			time.Sleep(time.Duration(p.rng.IntN(3000)) * time.Microsecond)
			p.flap()
		}
		close(stop)
		running.Wait()
		f.commitRest()
		p.catchUp()
		if a, b := f.server.options.Engine.AppendState(nil), p.other.engine.AppendState(nil); string(a) != string(b) {
			t.Fatal("the states differ")
		}
		f.hold(p.other.engine, results)
	}
}

// commitRest waits until nothing is under way.
func (f *clusterFixture) commitRest() {
	waitFor(f.t, "the last commits", func() bool {
		f.commit(-1)
		return f.rep.proposed() == 0 && f.busy() == 0
	})
}

// busy is how many loops have something under way.
func (f *fixture) busy() (n int) {
	ch := make(chan bool)
	for _, l := range f.server.loops {
		l.net.Post(func() { ch <- l.busy() })
		if <-ch {
			n++
		}
	}
	return n
}

// hold compares what clients were told with the log.
func (f *clusterFixture) hold(e *engine.Engine, results [][]written) {
	values := map[string][]string{} // topic/partition: messages by offset
	f.log.set(func(m *memLog) {
		for _, b := range m.frames {
			frame, err := record.ReadFrame(b, 1)
			if err != nil {
				f.t.Fatal(err)
			}
			it := frame.Iter()
			for sec, ok := it.Next(); ok; sec, ok = it.Next() {
				if sec.Type != record.SectionRecords {
					continue
				}
				name := fmt.Sprintf("%s/%d", e.TopicByID(sec.Stream.Topic).Name(), sec.Stream.Partition)
				if uint64(len(values[name])) != sec.Base {
					f.t.Fatalf("%s: a section at offset %d after %d messages", name, sec.Base, len(values[name]))
				}
				rs := sec.Records()
				for r, ok := rs.Next(); ok; r, ok = rs.Next() {
					values[name] = append(values[name], string(r.Value))
				}
			}
		}
	})
	copies := map[string]int{}
	for _, got := range values {
		for _, v := range got {
			copies[v]++
		}
	}
	counts := map[int]int{}
	for _, all := range results {
		for _, w := range all {
			counts[w.status]++
			if w.keyed && copies[w.value] > 1 {
				f.t.Fatalf("%s is in the log %d times", w.value, copies[w.value])
			}
			if w.answer["duplicate"] == true {
				counts[1]++
			}
			if w.status != 200 || w.answer["durable"] != true {
				continue
			}
			topic, _, _ := strings.Cut(w.value, "/")
			name, offset := fmt.Sprintf("%s/%v", topic, w.answer["partition"]), int(w.answer["offset"].(float64))
			if got := values[name]; offset >= len(got) || got[offset] != w.value {
				f.t.Fatalf("%s was told offset %d of %s: %v", w.value, offset, name, w.answer)
			}
			counts[0]++
		}
	}
	f.t.Logf("answers by status, 0 for those that promise something, 1 for duplicates: %v", counts)
	if counts[0] == 0 || counts[503] == 0 {
		f.t.Error("the test did not meet what it is for")
	}
}
