package api

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
	"unsafe"

	"ayder/internal/record"
)

// eachWay runs f on every backend with one loop, and with three where a backend has them.
func eachWay(t *testing.T, f func(t *testing.T, backend string, loops int)) {
	eachBackend(t, func(t *testing.T, backend string) {
		f(t, backend, 1)
		if backend == "uring" {
			t.Run("three loops", func(t *testing.T) { f(t, backend, 3) })
		}
	})
}

// loops are the server's, once they have begun.
func (f *fixture) loops() []*loop {
	<-f.server.started
	return f.server.loops
}

// waiting is how many long-polls are asleep, streaming how many streams are open.
func (f *fixture) waiting() (n int) {
	<-f.server.started // and so loops is complete
	for _, l := range f.loops() {
		n += int(l.counters.Waiting.Load())
	}
	return n
}

func (f *fixture) streaming() (n int) {
	for _, l := range f.loops() {
		n += int(l.counters.Streams.Load())
	}
	return n
}

func (f *fixture) awaitWaiting(n int) {
	f.t.Helper()
	waitFor(f.t, fmt.Sprintf("%d long-polls asleep", n), func() bool { return f.waiting() == n })
}

func (f *fixture) awaitStreaming(n int) {
	f.t.Helper()
	waitFor(f.t, fmt.Sprintf("%d streams", n), func() bool { return f.streaming() == n })
}

// awaitNoFeeds waits until no loop has anybody who waits for news, and nothing set for later.
func (f *fixture) awaitNoFeeds() {
	f.t.Helper()
	waitFor(f.t, "loops without listeners", func() bool {
		ch, n := make(chan int), 0
		for _, l := range f.loops() {
			l.net.Post(func() { ch <- len(l.feeds) })
			n += <-ch
		}
		return n == 0
	})
}

// put appends messages to partition p of topic t, one batch each.
func (f *fixture) put(p int, values ...string) {
	f.t.Helper()
	for _, v := range values {
		if status, m := f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), v); status != 200 {
			f.t.Fatal(status, m)
		}
	}
}

func (f *fixture) topic(partitions int) {
	f.t.Helper()
	if status, m := f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":"t","partitions":%d}`, partitions)); status != 201 {
		f.t.Fatal(status, m)
	}
}

func TestLongPollIsAnsweredByTheMessage(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(6)
		c, r := f.dial() // one connection for all: each answer leaves it as any other does
		for partition := range 6 {
			for i, start := range []string{"", "&offset=1", "&offset=latest"} {
				path := fmt.Sprintf("/broker/consume/t/g%d/%d?wait_ms=30000%s", i, partition, start)
				if start == "" {
					path = strings.Replace(path, "/g0/", "/fresh/", 1)
				}
				fmt.Fprint(c, get(path))
				f.awaitWaiting(1)
				f.put(partition, fmt.Sprintf("hello %d", i))
				status, text := answer(t, r, "GET")
				want := fmt.Sprintf(`{"messages":[{"offset":%d,"partition":%d,"value":"hello %d"`, i, partition, i)
				if status != 200 || !strings.HasPrefix(text, want) || !strings.Contains(text, `"count":1`) {
					t.Fatalf("%s: %d %s", path, status, text)
				}
			}
		}
		fmt.Fprint(c, get("/broker/consume/t/g/0?wait_ms=30000&offset=1"))
		if status, text := answer(t, r, "GET"); status != 200 || !strings.Contains(text, `"count":2,`) {
			t.Fatal("what is there already is answered at once: ", status, text)
		}
		f.awaitNoFeeds()
	})
}

func TestLongPollEndsEmpty(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		for p := range 3 {
			began := time.Now()
			status, m := f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=50", p), "")
			if status != 200 || m["count"] != 0.0 || m["next_offset"] != 0.0 || m["truncated"] != false {
				t.Fatal(status, m)
			}
			if waited := time.Since(began); waited < 50*time.Millisecond {
				t.Errorf("answered after %v", waited)
			}
			if status, m = f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=0", p), ""); status != 200 || m["count"] != 0.0 {
				t.Fatal(status, m)
			}
			if status, m = f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=30000&offset=1", p), ""); status != 416 || m["next_offset"] != 0.0 {
				t.Fatal("an offset above the end is not waited for: ", status, m)
			}
		}
		for _, bad := range []string{"30001", "-1", "1.5", "", "x"} {
			if status, m := f.call("GET", "/broker/consume/t/g/0?wait_ms="+bad, ""); status != 400 || m["error"] != "bad_parameter" {
				t.Errorf("wait_ms=%s: %d %v", bad, status, m)
			}
		}
		if status, m := f.call("GET", "/broker/consume/none/g/0?wait_ms=30000", ""); status != 404 {
			t.Fatal(status, m)
		}
		f.awaitNoFeeds()
	})
}

// TestLongPollerGone: a client that goes, or ends its sending side, takes its wait along, and neither does harm.
func TestLongPollerGone(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		for _, leave := range []func(*net.TCPConn){
			func(c *net.TCPConn) { _ = c.Close() },
			func(c *net.TCPConn) { _ = c.CloseWrite() },
			func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		} {
			var conns []net.Conn
			for p := range 3 {
				for range 3 {
					c, _ := f.dial()
					fmt.Fprint(c, get(fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=30000", p)))
					conns = append(conns, c)
				}
			}
			f.awaitWaiting(len(conns))
			for _, c := range conns {
				leave(c.(*net.TCPConn))
			}
			f.awaitWaiting(0)
			f.awaitNoFeeds()
		}
		f.put(0, "still here")
	})
}

// TestLongPollPipelined: what was sent behind a waiting request is executed behind its answer.
func TestLongPollPipelined(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		for p := range 3 {
			c, r := f.dial()
			fmt.Fprint(c, get(fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=30000", p)), get("/health"), get(fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=1&offset=1", p)))
			f.awaitWaiting(1)
			f.put(p, "x")
			for i, want := range []string{`"value":"x"`, `{"ok":true}`, `"count":0`} {
				if status, text := answer(t, r, "GET"); status != 200 || !strings.Contains(text, want) {
					t.Fatalf("answer %d: %d %s", i, status, text)
				}
			}
		}
	})
}

// TestManyLongPolls has more waiting on one partition than are told in a turn; all are answered, those of other partitions
// are not.
func TestManyLongPolls(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(2)
		c, r := f.dial()
		fmt.Fprint(c, get("/broker/consume/t/g/1?wait_ms=30000"))
		done := make(chan string)
		const n = 3*earsPerTurn + 7
		for range n {
			c, r := f.dial()
			go func() {
				fmt.Fprint(c, get("/broker/consume/t/g/0?wait_ms=30000"))
				_, text := answer(t, r, "GET")
				done <- text
			}()
		}
		f.awaitWaiting(n + 1)
		f.put(0, "for all")
		for range n {
			if text := <-done; !strings.Contains(text, `"value":"for all"`) {
				t.Fatal(text)
			}
		}
		f.awaitWaiting(1)
		f.put(1, "for one")
		if _, text := answer(t, r, "GET"); !strings.Contains(text, `"value":"for one"`) {
			t.Fatal(text)
		}
		f.awaitNoFeeds()
	})
}

// TestLongPollAtStop: a server that stops answers those who wait, with what there is: nothing.
func TestLongPollAtStop(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		c, r := f.dial()
		fmt.Fprint(c, get("/broker/consume/t/g/1?wait_ms=30000"))
		f.awaitWaiting(1)
		go func() { _ = f.net.Shutdown(t.Context()) }()
		if status, text := answer(t, r, "GET"); status != 200 || !strings.Contains(text, `"count":0`) {
			t.Fatal(status, text)
		}
	})
}

// TestLongPollOnFollower: messages that another node wrote wake it, and an offset that this node has not reached is
// waited for.
func TestLongPollOnFollower(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newClusterFixture(t, backend, func(o *Options) { o.Loops = loops })
		other := newOtherNode(2)
		f.foreign(other.create(t, "t", 3))
		for p := range 3 {
			c, r := f.dial()
			c2, r2 := f.dial()
			fmt.Fprint(c, get(fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=30000&offset=latest", p)))
			fmt.Fprint(c2, get(fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=30000&offset=%d", p, p+1)))
			f.awaitWaiting(2)
			f.foreign(other.produce(t, "t", "one", ""))
			if status, text := answer(t, r, "GET"); status != 200 || !strings.Contains(text, fmt.Sprintf(`"offset":%d,`, p)) || !strings.Contains(text, `"role":"follower"`) {
				t.Fatal(status, text)
			}
			f.awaitWaiting(1)
			frame := other.seal(t, func(b *record.Batch) {
				pt := other.engine.Topic([]byte("t")).Partition(uint32(p))
				b.AppendRecord(pt.Stream(), pt.Next(), &record.Record{Value: []byte("two")})
			})
			f.foreign(frame)
			if status, text := answer(t, r2, "GET"); status != 200 || !strings.Contains(text, `"value":"two"`) {
				t.Fatal(status, text)
			}
			if p == 0 {
				continue
			}
			break
		}
		if status, m := f.call("GET", "/broker/consume/t/g/2?wait_ms=20&offset=99", ""); status != 416 {
			t.Fatal("above the end when the time is up: ", status, m)
		}
		c, r := f.dial()
		fmt.Fprint(c, get("/broker/consume/t/g/2?wait_ms=20&consistency=leader"))
		if status, text := answer(t, r, "GET"); status != 307 {
			t.Fatal(status, text)
		}
	})
}

// TestLongPollOfDeposedLeader: who waits for the leader is sent to the new one, who waits for messages goes on waiting
// as at any follower.
func TestLongPollOfDeposedLeader(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newClusterFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.lead()
		f.topic(3)
		for _, leader := range []string{"n2", ""} {
			c, r := f.dial()
			c2, r2 := f.dial()
			fmt.Fprint(c, get("/broker/consume/t/g/1?wait_ms=30000&consistency=leader"))
			fmt.Fprint(c2, get("/broker/consume/t/g/1?wait_ms=30000&offset=latest"))
			f.awaitWaiting(2)
			f.depose(leader)
			f.server.Forget()
			status, text := answer(t, r, "GET")
			if leader != "" && (status != 307 || !strings.Contains(text, "redirect_to_leader")) || leader == "" && (status != 503 || !strings.Contains(text, "no_leader")) {
				t.Fatal(status, text)
			}
			f.awaitWaiting(1)
			f.lead()
			f.put(1, "again")
			if status, text := answer(t, r2, "GET"); status != 200 || !strings.Contains(text, `"value":"again"`) {
				t.Fatal(status, text)
			}
			f.call("POST", "/broker/commit", `{"topic":"t","group":"g","partition":1,"offset":1}`)
		}
	})
}

// TestSleeperIsSmall: besides its connection a long-poll costs a few hundred bytes: itself, its request's head, and its
// places at feed and alarms. So does a stream.
func TestSleeperIsSmall(t *testing.T) {
	head := get("/broker/consume/a-topic-with-a-name/a-group/17?wait_ms=30000&offset=123456")
	if n := int(unsafe.Sizeof(sleeper{})) + len(head) + 2*8; n > 400 {
		t.Errorf("a sleeper has %d bytes", n)
	}
	if n := unsafe.Sizeof(stream{}) + unsafe.Sizeof(follower{}) + 2*8; n > 400 {
		t.Errorf("a stream has %d bytes", n)
	}
}
