package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ayder/internal/auth"
)

// assignmentAnswer is what join, heartbeat and poll say.
type assignmentAnswer struct {
	Error      string
	Member     string
	Generation uint64
	SessionMs  uint64 `json:"session_ms"`
	Assigned   []place
	Revoked    []place
	Messages   []struct {
		place
		Offset uint64
		Value  string
	}
	Partitions []struct {
		place
		Next      uint64  `json:"next_offset"`
		Committed *uint64 `json:"committed_offset"`
	}
	Truncated bool
}

type place struct {
	Topic     string
	Partition uint32
}

func (p place) String() string { return fmt.Sprint(p.Topic, "/", p.Partition) }

// ask makes a request about groups.
func (f *fixture) ask(method, path, body string, header ...string) (status int, a assignmentAnswer) {
	f.t.Helper()
	status, text, _ := f.raw(method, path, body, header...)
	if err := json.Unmarshal(text, &a); err != nil {
		f.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return status, a
}

// must is ask that wants status 200.
func (f *fixture) must(method, path, body string) assignmentAnswer {
	f.t.Helper()
	status, a := f.ask(method, path, body)
	if status != 200 {
		f.t.Fatalf("%s %s: %d %+v", method, path, status, a)
	}
	return a
}

// refuses wants an error.
func (f *fixture) refuses(status int, code, method, path, body string) {
	f.t.Helper()
	if s, a := f.ask(method, path, body); s != status || a.Error != code {
		f.t.Fatalf("%s %s %s: %d %s, want %d %s", method, path, body, s, a.Error, status, code)
	}
}

func (f *fixture) join(group, member string, topics ...string) assignmentAnswer {
	f.t.Helper()
	list, _ := json.Marshal(topics)
	return f.must("POST", "/broker/groups/"+group+"/join", fmt.Sprintf(`{"member":%q,"topics":%s}`, member, list))
}

func (f *fixture) beat(group, member string, generation uint64) assignmentAnswer {
	f.t.Helper()
	return f.must("POST", "/broker/groups/"+group+"/heartbeat", fmt.Sprintf(`{"member":%q,"generation":%d}`, member, generation))
}

func (f *fixture) poll(group, member string, generation uint64, more string) assignmentAnswer {
	f.t.Helper()
	return f.must("GET", fmt.Sprintf("/broker/groups/%s/poll?member=%s&generation=%d%s", group, member, generation, more), "")
}

func wantPlaces(t *testing.T, what string, got []place, want ...string) {
	t.Helper()
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	if !slices.Equal(texts, want) {
		t.Fatalf("%s: %v, want %v", what, texts, want)
	}
}

// eachLoops runs f with one loop and with several.
func eachLoops(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Run("one loop", func(t *testing.T) { f(t, newFixture(t, "auto")) })
	t.Run("three loops", func(t *testing.T) {
		f(t, newFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 }))
	})
}

func TestMembersShareATopic(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
		for i := range 40 {
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%4), fmt.Sprint("message ", i))
		}
		a := f.join("g", "a", "t")
		wantPlaces(t, "a alone", a.Assigned, "t/0", "t/1", "t/2", "t/3")
		if again := f.join("g", "a", "t"); again.Generation != a.Generation || a.SessionMs != sessionMsDefault {
			t.Fatalf("joining again is not the same: %+v %+v", a, again)
		}
		given := f.must("POST", "/broker/groups/g/join", `{"topics":["t"],"session_ms":300000}`)
		if !strings.HasPrefix(given.Member, "m-") || len(given.Assigned) != 0 {
			t.Fatalf("%+v", given)
		}
		b := given.Member
		a = f.beat("g", "a", a.Generation)
		wantPlaces(t, "a's left", a.Assigned, "t/0", "t/1")
		wantPlaces(t, "a's lost", a.Revoked, "t/2", "t/3")
		if got := f.poll("g", b, given.Generation, ""); len(got.Assigned)+len(got.Messages)+len(got.Partitions) > 0 {
			t.Fatalf("b has something before a has given it up: %+v", got)
		}
		got := f.poll("g", "a", a.Generation, "&limit=10")
		wantPlaces(t, "a's lost after its word", got.Revoked)
		if len(got.Messages) != 10 || !got.Truncated || len(got.Partitions) != 2 {
			t.Fatalf("%+v", got)
		}
		for _, p := range got.Partitions {
			if p.Next != 5 || p.Committed != nil {
				t.Fatalf("unfair: %+v", got.Partitions)
			}
		}
		got = f.poll("g", b, given.Generation, "")
		wantPlaces(t, "b's", got.Assigned, "t/2", "t/3")
		if len(got.Messages) != 20 || got.Truncated {
			t.Fatalf("%+v", got)
		}
		commit := func(member string, generation uint64, partition int) (int, string) {
			status, m := f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g","partition":%d,"offset":4,"member":%q,"generation":%d}`, partition, member, generation))
			code, _ := m["error"].(string)
			return status, code
		}
		for _, c := range []struct {
			member     string
			generation uint64
			partition  int
			status     int
			code       string
		}{
			{b, got.Generation, 2, 200, ""},
			{b, got.Generation, 3, 200, ""},
			{"a", got.Generation, 2, 409, "fenced"},
			{b, given.Generation, 2, 409, "fenced"},
			{b, got.Generation + 1, 2, 409, "fenced"},
			{"a", a.Generation, 1, 200, ""},
			{"nobody", got.Generation, 1, 409, "unknown_member"},
		} {
			if status, code := commit(c.member, c.generation, c.partition); status != c.status || code != c.code {
				t.Fatalf("%+v: %d %s", c, status, code)
			}
		}
		if status, _ := f.call("POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`); status != 200 {
			t.Fatal("a commit without a member", status)
		}
		got = f.poll("g", b, got.Generation, "&encoding=b64")
		if len(got.Messages) != 12 || got.Partitions[0].Committed == nil {
			t.Fatalf("after the commits: %+v", got)
		}
		f.refuses(409, "group_active", "DELETE", "/broker/groups/g", "")
		f.refuses(409, "group_active", "POST", "/broker/groups/g/reset", `{"topic":"t","to":"earliest"}`)
		f.must("POST", "/broker/groups/g/leave", `{"member":"a"}`)
		f.must("POST", "/broker/groups/g/leave", `{"member":"a"}`)
		wantPlaces(t, "b alone", f.poll("g", b, got.Generation, "").Assigned, "t/0", "t/1", "t/2", "t/3")
		f.refuses(409, "unknown_member", "POST", "/broker/groups/g/heartbeat", `{"member":"a"}`)
		f.refuses(409, "unknown_member", "GET", "/broker/groups/g/poll?member=a", "")
		f.refuses(409, "fenced", "POST", "/broker/groups/g/heartbeat", fmt.Sprintf(`{"member":%q,"generation":99999}`, b))
		f.must("POST", "/broker/groups/g/leave", fmt.Sprintf(`{"member":%q}`, b))
		f.refuses(409, "unknown_member", "POST", "/broker/groups/g/heartbeat", `{"member":"a"}`)
	})
}

// A member that is not heard of is out after its session, and one that is stays.
func TestSilentMemberExpires(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	f.must("POST", "/broker/groups/g/join", `{"member":"silent","topics":["t"],"session_ms":1000}`)
	live := f.must("POST", "/broker/groups/g/join", `{"member":"live","topics":["t"],"session_ms":300000}`)
	waitFor(t, "the end of the session", func() bool {
		live = f.beat("g", "live", live.Generation)
		return len(live.Assigned) == 2
	})
	f.refuses(409, "unknown_member", "POST", "/broker/groups/g/heartbeat", `{"member":"silent"}`)
	<-f.server.started
	if n := f.server.loops[0].counters.MembersExpired.Load(); n != 1 {
		t.Fatal("expired", n)
	}
}

// Members learn of a topic that did not exist when they joined.
func TestTopicComesAfterItsMembers(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		a := f.join("g", "a", "later")
		if len(a.Assigned) != 0 {
			t.Fatalf("%+v", a)
		}
		f.call("POST", "/broker/topics", `{"name":"later","partitions":3}`)
		waitFor(t, "the topic", func() bool { return len(f.beat("g", "a", a.Generation).Assigned) == 3 })
	})
}

// A poll that waits is woken by a message on any of its partitions, by a rebalance, and by its time.
func TestPollWaits(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
		a := f.must("POST", "/broker/groups/g/join", `{"member":"a","topics":["t"],"session_ms":300000}`)
		ask := func() chan assignmentAnswer {
			c := make(chan assignmentAnswer, 1)
			go func() { c <- f.poll("g", "a", a.Generation, "&wait_ms=30000") }()
			f.awaitWaiting(1)
			return c
		}
		for partition := range 4 {
			c := ask()
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", partition), "x")
			if got := <-c; len(got.Messages) != 1 || got.Messages[0].Partition != uint32(partition) {
				t.Fatalf("%+v", got)
			}
			f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g","partition":%d,"offset":1}`, partition))
		}
		c := ask()
		f.join("g", "b", "t")
		if got := <-c; got.Generation == a.Generation || len(got.Revoked) != 2 {
			t.Fatalf("%+v", got)
		}
		if got := f.poll("g", "a", a.Generation, "&wait_ms=30000"); len(got.Revoked) != 2 {
			t.Fatalf("a poll with an old generation: %+v", got)
		}
		b := f.beat("g", "b", 0)
		if got := f.poll("g", "b", b.Generation, "&wait_ms=50"); len(got.Messages) != 0 {
			t.Fatalf("%+v", got)
		}
	})
}

// A client that goes ends its wait.
func TestPollIsForsaken(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
		a := f.must("POST", "/broker/groups/g/join", `{"member":"a","topics":["t"],"session_ms":300000}`)
		for range 6 { // so that with several loops some connections are another loop's
			c, _ := f.dial()
			fmt.Fprint(c, get(fmt.Sprintf("/broker/groups/g/poll?member=a&generation=%d&wait_ms=30000", a.Generation)))
			f.awaitWaiting(1)
			_ = c.Close()
			f.awaitWaiting(0)
		}
	})
}

// Every partition has its turn, also where a page holds one message.
func TestPollIsFair(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":3}`)
	for i := range 30 {
		f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%3), strings.Repeat("x", 100))
	}
	a := f.join("g", "a", "t")
	for _, more := range []string{"&limit=1", "&max_bytes=1"} {
		seen := map[uint32]int{}
		for range 9 {
			got := f.poll("g", "a", a.Generation, more)
			if len(got.Messages) != 1 {
				t.Fatalf("%+v", got)
			}
			seen[got.Messages[0].Partition]++
		}
		if seen[0] != 3 || seen[1] != 3 || seen[2] != 3 {
			t.Fatal(more, seen)
		}
	}
}

// Messages that are not in memory are read elsewhere, for a poll as for a page; damage is said.
func TestPollReadsFromDisk(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
		for i := range 8 {
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%4), "x")
		}
		a := f.join("g", "a", "t")
		f.log.set(func(m *memLog) { m.cold, m.warm = true, 1 })
		if got := f.poll("g", "a", a.Generation, ""); len(got.Messages) != 8 || got.Truncated {
			t.Fatalf("%+v", got)
		}
		f.log.set(func(m *memLog) { m.damage = fmt.Errorf("no") })
		f.refuses(500, "storage_damaged", "GET", "/broker/groups/g/poll?member=a", "")
		f.log.set(func(m *memLog) { m.cold = false })
		f.refuses(500, "storage_damaged", "GET", "/broker/groups/g/poll?member=a", "")
	})
}

func TestListAndDescribeGroups(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
		f.call("POST", "/broker/topics", `{"name":"allowed.u","partitions":1}`)
		for i := range 12 {
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%4), "x")
		}
		for i := range 3 {
			f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g%d","partition":%d,"offset":%d}`, i, i, i))
		}
		f.call("POST", "/broker/commit", `{"topic":"allowed.u","group":"g0","partition":0,"offset":0}`)
		f.join("h", "a", "t")
		_, m := f.call("GET", "/broker/groups", "")
		want := `{"count":4,"groups":[` +
			`{"group":"g0","lag":3,"members":0,"partitions":2,"state":"empty","topics":["allowed.u","t"]},` +
			`{"group":"g1","lag":2,"members":0,"partitions":1,"state":"empty","topics":["t"]},` +
			`{"group":"g2","lag":1,"members":0,"partitions":1,"state":"empty","topics":["t"]},` +
			`{"group":"h","lag":0,"members":1,"partitions":0,"state":"stable","topics":["t"]}],"ok":true,"truncated":false}`
		if text, _ := json.Marshal(m); string(text) != want {
			t.Fatalf("got  %s\nwant %s", text, want)
		}
		if _, m := f.call("GET", "/broker/groups?after=g0&limit=2", ""); m["count"] != 2.0 || m["truncated"] != true {
			t.Fatal(m)
		}
		tokens(t, f)
		if _, m := f.call("GET", "/broker/groups", "", "Authorization", "Bearer p"); m["count"] != 1.0 {
			t.Fatal("what a token with a prefix sees:", m)
		}
		_, m = f.call("GET", "/broker/groups/g0", "", "Authorization", "Bearer p")
		if list, _ := m["partitions"].([]any); len(list) != 1 || m["lag"] != 0.0 {
			t.Fatal("what a token with a prefix sees:", m)
		}
		f.refused("GET", "/broker/groups/h", "", "Authorization", "Bearer p").want(t, "another's group", 404, "unknown_group", "")
		f.refused("GET", "/broker/groups/nobody", "").want(t, "nobody", 404, "unknown_group", "nobody")
		f.refused("POST", "/broker/groups/h/heartbeat", `{"member":"a"}`, "Authorization", "Bearer p").want(t, "another's member", 403, "forbidden", `"t"`)
		f.refused("POST", "/broker/groups/h/leave", `{"member":"a"}`, "Authorization", "Bearer p").want(t, "another's member", 403, "forbidden", `"t"`)
		f.refused("GET", "/broker/groups/h/poll?member=a", "", "Authorization", "Bearer p").want(t, "another's member", 403, "forbidden", `"t"`)

		f.call("POST", "/broker/commit", `{"topic":"t","group":"h","partition":1,"offset":2}`)
		_, m = f.call("GET", "/broker/groups/h", "")
		parts, _ := m["partitions"].([]any)
		if len(parts) != 4 || m["lag"] != 10.0 || m["state"] != "stable" || len(m["members"].([]any)) != 1 {
			t.Fatal(m)
		}
		text, _ := json.Marshal(parts[:2])
		if string(text) != `[{"committed_offset":null,"earliest_offset":0,"lag":3,"member":"a","next_offset":3,"partition":0,"topic":"t"},`+
			`{"committed_offset":2,"earliest_offset":0,"lag":1,"member":"a","next_offset":3,"partition":1,"topic":"t"}]` {
			t.Fatalf("%s", text)
		}
	})
}

func TestResetAndDeleteGroups(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
		for i := range 14 { // partitions 0 and 1 have four, the others three
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%4), "x")
		}
		reset := func(body, want string) {
			t.Helper()
			status, text, _ := f.raw("POST", "/broker/groups/g/reset", body)
			if status != 200 || !strings.Contains(string(text), `"partitions":`+want) {
				t.Fatalf("%s: %d %s, want %s", body, status, text, want)
			}
		}
		reset(`{"topic":"t","to":"latest"}`, `[{"partition":0,"committed_offset":4},{"partition":1,"committed_offset":4},{"partition":2,"committed_offset":3},{"partition":3,"committed_offset":3}]`)
		reset(`{"topic":"t","partition":2,"to":{"offset":1}}`, `[{"partition":2,"committed_offset":1}]`)
		reset(`{"topic":"t","to":{"offset":4}}`, `[{"partition":0,"committed_offset":4},{"partition":1,"committed_offset":4},{"partition":2,"committed_offset":3},{"partition":3,"committed_offset":3}]`)
		reset(`{"topic":"t","partition":0,"to":"earliest"}`, `[{"partition":0,"committed_offset":0}]`)
		if _, m := f.call("GET", "/broker/consume/t/g/0", ""); m["count"] != 4.0 {
			t.Fatal(m)
		}
		for body, want := range map[string]string{
			`{"topic":"t","partition":2,"to":{"offset":4}}`:     "416 offset_out_of_range",
			`{"topic":"t","partition":4,"to":"latest"}`:         "404 unknown_partition",
			`{"topic":"x","to":"latest"}`:                       "404 unknown_topic",
			`{"topic":"t"}`:                                     "400 bad_json",
			`{"topic":"t","to":"end"}`:                          "400 bad_json",
			`{"topic":"t","to":null}`:                           "400 bad_json",
			`{"topic":"t","to":3}`:                              "400 bad_json",
			`{"topic":"t","to":{}}`:                             "400 bad_json",
			`{"topic":"t","to":{"offset":-1}}`:                  "400 bad_json",
			`{"topic":"t","to":{"ts_ms":-1}}`:                   "400 bad_json",
			`{"topic":"t","to":{"offset":1,"ts_ms":1}}`:         "400 bad_json",
			`{"topic":"t","to":{"offset":9223372036854775808}}`: "400 bad_json",
			`{"to":"latest"}`:                                   "400 missing_topic",
		} {
			if r := f.refused("POST", "/broker/groups/g/reset", body); fmt.Sprint(r.status, " ", r.code) != want {
				t.Errorf("%s: %d %s, want %s", body, r.status, r.code, want)
			}
		}
		reset(`{"topic":"t","to":{"ts_ms":0}}`, `[{"partition":0,"committed_offset":0},{"partition":1,"committed_offset":0},{"partition":2,"committed_offset":0},{"partition":3,"committed_offset":0}]`)
		for i, ms := range []int{9e15, 9e15 + 5, 9e15 + 3} { // far in the future
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d&ts_ms=%d", i%2, ms), "x")
		}
		reset(`{"topic":"t","to":{"ts_ms":9000000000000001}}`, `[{"partition":0,"committed_offset":5},{"partition":1,"committed_offset":4},{"partition":2,"committed_offset":3},{"partition":3,"committed_offset":3}]`)
		reset(`{"topic":"t","partition":0,"to":{"ts_ms":9000000000000000}}`, `[{"partition":0,"committed_offset":4}]`)
		f.call("POST", "/broker/commit", `{"topic":"t","group":"other","partition":0,"offset":1}`)
		for _, want := range []bool{true, false} {
			if status, m := f.call("DELETE", "/broker/groups/g", ""); status != 200 || m["deleted"] != want {
				t.Fatal(status, m)
			}
		}
		f.refused("GET", "/broker/groups/g", "").want(t, "deleted", 404, "unknown_group", "")
		if status, _ := f.call("GET", "/broker/groups/other", ""); status != 200 {
			t.Fatal("another group is gone, too")
		}
	})
}

func TestBadBodiesOfMembers(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	many, _ := json.Marshal(slices.Repeat([]string{"t"}, 65))
	for _, c := range [][3]string{
		{"join", ``, "bad_json"},
		{"join", `{}`, "bad_json"},
		{"join", `{"topics":[]}`, "bad_json"},
		{"join", `{"topics":"t"}`, "bad_json"},
		{"join", `{"topics":["t","t"]}`, "bad_json"},
		{"join", `{"topics":["a/b"]}`, "bad_topic"},
		{"join", `{"topics":[""]}`, "missing_topic"},
		{"join", `{"topics":` + string(many) + `}`, "bad_json"},
		{"join", `{"topics":["t"],"session_ms":999}`, "bad_json"},
		{"join", `{"topics":["t"],"session_ms":300001}`, "bad_json"},
		{"join", `{"topics":["t"],"session_ms":-1}`, "bad_json"},
		{"join", `{"topics":["t"],"session_ms":1.5e3}`, "bad_json"},
		{"join", `{"topics":["t"],"member":""}`, "bad_member_id"},
		{"join", `{"topics":["t"],"member":"a b"}`, "bad_member_id"},
		{"join", `{"topics":["t"],"member":7}`, "bad_json"},
		{"join", `{"topics":["t"],"group":"g"}`, "unknown_field"},
		{"heartbeat", `{}`, "bad_member_id"},
		{"heartbeat", `{"member":"a","generation":-1}`, "bad_json"},
		{"heartbeat", `{"member":"a","generation":"1"}`, "bad_json"},
		{"heartbeat", `{"member":"a","topics":[]}`, "unknown_field"},
		{"leave", `{}`, "bad_member_id"},
		{"leave", `[]`, "bad_json"},
		{"leave", `{"member":"a","member":"b"}`, "bad_json"},
	} {
		f.refused("POST", "/broker/groups/g/"+c[0], c[1]).want(t, c[0]+" "+c[1], 400, c[2], "")
	}
	for body, code := range map[string]string{
		`{"topic":"t","group":"g","partition":0,"offset":0,"member":"a"}`:               "bad_json",
		`{"topic":"t","group":"g","partition":0,"offset":0,"generation":1}`:             "bad_json",
		`{"topic":"t","group":"g","partition":0,"offset":0,"member":"","generation":1}`: "bad_member_id",
	} {
		f.refused("POST", "/broker/commit", body).want(t, body, 400, code, "")
	}
	f.refused("GET", "/broker/groups/g/poll", "").want(t, "poll", 400, "bad_parameter", "member")
}

// Many join one group at once: every one of them gets in, and in the end all partitions are handled once.
func TestManyJoinAtOnce(t *testing.T) {
	eachLoops(t, func(t *testing.T, f *fixture) {
		f.call("POST", "/broker/topics", `{"name":"t","partitions":30}`)
		const members = 20
		done := make(chan assignmentAnswer, members)
		for i := range members {
			go func() { done <- f.join("g", fmt.Sprint("m", i), "t") }()
		}
		generations := map[string]uint64{}
		for range members {
			a := <-done
			generations[a.Member] = a.Generation
		}
		handled := map[place]string{}
		waitFor(t, "the group to come to rest", func() bool {
			moving := false
			clear(handled)
			for m := range generations {
				a := f.beat("g", m, generations[m])
				generations[m] = a.Generation
				moving = moving || len(a.Revoked) > 0 || len(a.Assigned) > 2
				for _, p := range a.Assigned {
					if handled[p] != "" {
						t.Fatalf("%v is handled by %s and %s", p, handled[p], m)
					}
					handled[p] = m
				}
			}
			return !moving && len(handled) == 30
		})
	})
}

// A stall of the whole loop is nobody's silence.
func TestStandstillExpiresNobody(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.must("POST", "/broker/groups/g/join", `{"member":"a","topics":["t"],"session_ms":300000}`) // longer than this test, whatever else runs
	<-f.server.started
	l := f.server.loops[0]
	swept := make(chan int)
	l.net.Post(func() {
		// The loop looks five minutes late: it has heard of nobody since.
		for _, s := range l.sessions.groups["g"] {
			s.heard -= int64(301 * time.Second)
		}
		l.sessions.alarm.at -= int64(301 * time.Second)
		l.alarms.cancel(&l.sessions.alarm)
		sweeper{}.due(l, l.net.Now())
		swept <- len(l.shard.Memberships())
	})
	if n := <-swept; n != 1 {
		t.Fatal("groups", n)
	}
	f.beat("g", "a", 0)
}

// tokens gives the fixture one that reaches only topics with a prefix.
func tokens(t *testing.T, f *fixture) {
	t.Helper()
	list, err := auth.Parse("dev:p@read+write+admin/allowed.")
	if err != nil {
		t.Fatal(err)
	}
	f.server.options.Tokens.Swap(list)
}
