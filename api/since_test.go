package api

import (
	"fmt"
	"strings"
	"testing"
)

// put at times: message i has ts_ms times[i].
func (f *fixture) putAt(p int, times ...int) {
	f.t.Helper()
	for _, ms := range times {
		if status, m := f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d&ts_ms=%d", p, ms), "v"); status != 200 {
			f.t.Fatal(status, m)
		}
	}
}

func TestFromTime(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(2)
		f.putAt(1, 50, 10, 40, 30, 60, 20)
		f.call("POST", "/broker/commit", `{"topic":"t","group":"g","partition":1,"offset":5}`)
		for query, want := range map[string]int{
			"from_ts_ms=0": 0, "offset=0&from_ts_ms=0": 0, "from_ts_ms=1": 0, "from_ts_ms=50": 0, "from_ts_ms=51": 4, "from_ts_ms=60": 4, "from_ts_ms=61": 6,
			"offset=1&from_ts_ms=20": 2, "offset=1&from_ts_ms=5": 1, "offset=earliest&from_ts_ms=55": 4, "offset=latest&from_ts_ms=1": 6, "offset=5&from_ts_ms=60": 6,
		} {
			status, m := f.call("GET", "/broker/consume/t/g/1?limit=1&"+query, "")
			first, next := m["next_offset"].(float64)-m["count"].(float64), m["next_offset"]
			if status != 200 || first != float64(want) || (want == 6) != (m["count"] == 0.0) {
				t.Errorf("%s: %d, first %v, next %v; want %d", query, status, first, next, want)
			}
			if want == 6 {
				continue
			}
			for _, accept := range streamTypes {
				s := f.follow("/broker/consume/t/g/1?"+query, accept)
				for i := want; i < 6; i++ {
					s.message(i)
				}
				_ = s.conn.Close()
			}
		}
		if s := f.tryFollow("/broker/consume/t/g/1?offset=7&from_ts_ms=1", linesType); s.resp.StatusCode != 416 {
			t.Error(s.resp.Status)
		}
		s := f.follow("/broker/consume/t/g/1?from_ts_ms=51", eventsType, "Last-Event-ID", "4")
		s.message(5)
	})
}

// TestFromTimeWaits: who waits for messages of a time is not woken by older ones.
func TestFromTimeWaits(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(2)
		for p := range 2 {
			f.putAt(p, 10)
			c, r := f.dial()
			fmt.Fprint(c, get(fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=30000&from_ts_ms=100", p)))
			f.awaitWaiting(1)
			s := f.follow(fmt.Sprintf("/broker/consume/t/g/%d?from_ts_ms=100", p), linesType)
			f.putAt(p, 20, 99)
			f.awaitWaiting(1)
			f.putAt(p, 100, 5)
			if status, text := answer(t, r, "GET"); status != 200 || !strings.HasPrefix(text, `{"messages":[{"offset":3,`) {
				t.Fatal(status, text)
			}
			s.message(3)
			s.message(4)
			_ = s.conn.Close()
			if status, m := f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d?wait_ms=20&from_ts_ms=101", p), ""); status != 200 || m["count"] != 0.0 || m["next_offset"] != 5.0 {
				t.Fatal(status, m)
			}
		}
		f.awaitStreaming(0)
		f.awaitNoFeeds()
	})
}
