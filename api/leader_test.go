package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who serves what: redirects of a follower, reads of a leader that is not certain to be one, reads of a follower.

// redirected makes a request that a follower must send to the leader.
func (f *clusterFixture) redirected(method, path, body, location string, header ...string) {
	f.t.Helper()
	status, text, h := f.rawNoFollow(method, path, body, header...)
	r := f.refusal(method+" "+path, status, text, h)
	r.want(f.t, method+" "+path, 307, "redirect_to_leader", "leader")
	if h.Get("Location") != location || !strings.Contains(string(text), `"leader":"`+leaderAddr+`"`) {
		f.t.Errorf("%s %s: Location %q, want %q; %s", method, path, h.Get("Location"), location, text)
	}
}

// rawNoFollow is raw for answers that a client would follow elsewhere.
func (f *fixture) rawNoFollow(method, path, body string, header ...string) (int, []byte, http.Header) {
	f.t.Helper()
	c, r := f.dial()
	text := method + " " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\n"
	for i := 0; i < len(header); i += 2 {
		text += header[i] + ": " + header[i+1] + "\r\n"
	}
	fmt.Fprintf(c, "%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", text, len(body), body)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b := make([]byte, max(resp.ContentLength, 0))
	if method != "HEAD" {
		for n := 0; n < len(b); {
			k, err := resp.Body.Read(b[n:])
			if n += k; err != nil && n < len(b) {
				f.t.Fatal(err)
			}
		}
	}
	return resp.StatusCode, b, resp.Header
}

func TestEveryWriteOfAFollowerIsRedirected(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for loops := 1; loops <= 3; loops += 2 {
			if loops > 1 && backend == "evio" {
				continue
			}
			f := newClusterFixture(t, backend, func(o *Options) { o.Loops = loops })
			writes := 0
			eachRoute(func(r *route, path, body string) {
				if r.where != leaderOnly && r.where != coordinated {
					return
				}
				writes++
				f.redirected(r.method.String(), path, body, "http://"+leaderAddr+path)
			})
			if writes != 25 {
				t.Errorf("%d routes are redirected", writes)
			}
			for _, query := range []string{"?key=a%20b%2F&idempotency_key=x&timeout_ms=0", "?"} {
				path := "/broker/topics/not%2Dknown%2E/produce" + query // here; the leader may know it
				f.redirected("POST", path, "v", "http://"+leaderAddr+path)
			}
			f.redirected("POST", "/broker/topics/t/produce-ndjson", strings.Repeat("[1,2,3]\n", 6000), "http://"+leaderAddr+"/broker/topics/t/produce-ndjson")
		}
	})
}

// TestAFollowerRefusesWhatIsWrongAnyway: the token, the path and the parameters are the same everywhere.
func TestAFollowerRefusesWhatIsWrongAnyway(t *testing.T) {
	f := newClusterFixture(t, "auto")
	f.refused("POST", "/broker/topics/t/produce?nope=1", "v").want(t, "parameter", 400, "unknown_parameter", "nope")
	f.refused("POST", "/broker/topics/t/produce", "v", "Authorization", "Bearer reader").want(t, "role", 403, "forbidden", "write")
	f.refused("POST", "/broker/topics/t/produce", "v", "Authorization", "").want(t, "token", 401, "unauthorized", "")
	f.refused("POST", "/broker/topics/%20/produce", "v").want(t, "topic", 400, "bad_topic", "")
	f.refused("PUT", "/broker/topics/t/produce", "v").want(t, "method", 405, "method_not_allowed", "")
}

func TestWithoutALeader(t *testing.T) {
	for name, status := range map[string]ClusterStatus{
		"none known":      {NodeID: "n1", Role: RoleCandidate},
		"address unknown": {NodeID: "n1", Role: RoleFollower, LeaderID: "n2"},
		"us, not yet":     {NodeID: "n1", Role: RoleLeader, LeaderID: "n1", LeaderHTTPAddr: "127.0.0.1:7101"},
	} {
		f := newClusterFixture(t, "auto")
		f.cluster.set(func(c *fakeCluster) { c.status = status })
		eachRoute(func(r *route, path, body string) {
			if r.where == leaderOnly {
				f.refused(r.method.String(), path, body).want(t, name+" "+path, 503, "no_leader", "")
			}
		})
		f.refused("GET", "/broker/topics?consistency=leader", "").want(t, name, 503, "no_leader", "")
	}
}

// TestRedirectKeepsTheScheme: a client that came over TLS is not sent to a plain port, not even where there is no other; one that
// did not is sent to the plain one.
func TestRedirectKeepsTheScheme(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newClusterFixture(t, backend+overTLS)
		const path = "/broker/topics/t/produce?partition=0&key=a%20b"
		refusal := func() refusal {
			status, text, h := f.rawNoFollow("POST", path, "v")
			if h.Get("Location") != "" || h.Get("Retry-After") == "" {
				t.Errorf("Location %q, Retry-After %q", h.Get("Location"), h.Get("Retry-After"))
			}
			return f.refusal("over TLS", status, text, h)
		}
		refusal().want(t, "without an HTTPS port", 503, "leader_without_tls", "node n2, which leads, has no HTTPS port")
		f.cluster.set(func(c *fakeCluster) { c.status.LeaderHTTPSAddr, c.status.LeaderHTTPAddr = "127.0.0.9:1443", "" })
		status, text, h := f.rawNoFollow("POST", path, "v")
		if status != 307 || h.Get("Location") != "https://127.0.0.9:1443"+path || !strings.Contains(string(text), `"leader":"127.0.0.9:1443"`) {
			t.Errorf("%d, Location %q, %s", status, h.Get("Location"), text)
		}
		f.cluster.set(func(c *fakeCluster) { c.status.LeaderID = "" })
		refusal().want(t, "without a leader", 503, "no_leader", "")
		f.cluster.set(func(c *fakeCluster) { c.status.LeaderID, c.status.LeaderHTTPAddr = "n2", leaderAddr })
		f.tls = nil
		f.redirected("POST", path, "v", "http://"+leaderAddr+path)
	})
}

// TestRedirectBeforeTheBody: a client that waits for 100 Continue need not send its body to the wrong node.
func TestRedirectBeforeTheBody(t *testing.T) {
	f := newClusterFixture(t, "auto")
	for _, framing := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		c, r := f.dial()
		fmt.Fprintf(c, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nExpect: 100-continue\r\n%s\r\n\r\n", framing)
		head := readHead(t, r, "POST")
		if !strings.HasPrefix(head, "HTTP/1.1 307 ") || !strings.Contains(head, "Location: http://"+leaderAddr+"/broker/topics/t/produce\r\n") || !strings.Contains(head, "Connection: close") {
			t.Errorf("%s: %s", framing, head)
		}
	}
	f.lead()
	c, r := f.dial()
	fmt.Fprint(c, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Error(line, err)
	}
}

// TestRedirectsArePipelined: they are answers like others, in order, and the connection goes on.
func TestRedirectsArePipelined(t *testing.T) {
	f := newClusterFixture(t, "auto")
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce", "a")+get("/health")+post("/broker/topics/t/produce", "b")+post("/broker/topics/u/produce", "c")+get("/broker/topics"))
	for i, want := range []string{"redirect", `{"ok":true}`, "redirect", "redirect", `"role":"follower"`} {
		if _, body := answer(t, r, "POST"); !strings.Contains(body, want) {
			t.Errorf("answer %d: %s", i, body)
		}
	}
}

// TestReadsOfAFollower: it serves what it has and says so, or redirects where the client asks for the leader's view.
func TestReadsOfAFollower(t *testing.T) {
	f := newClusterFixture(t, "auto")
	other := newOtherNode(3)
	f.foreign(other.create(t, "t", 2), other.produce(t, "t", "theirs", ""))
	for _, path := range []string{"/broker/consume/t/g/0", "/broker/topics", "/broker/topics/t"} {
		status, text, _ := f.raw("GET", path, "")
		if status != 200 || !strings.HasSuffix(string(text), `,"role":"follower"}`) || strings.Contains(string(text), `"count":0`) {
			t.Errorf("%s: %d %s", path, status, text)
		}
		f.redirected("GET", path+"?consistency=leader", "", "http://"+leaderAddr+path+"?consistency=leader")
		if status, _, h := f.rawNoFollow("HEAD", path+"?consistency=leader", ""); status != 307 || h.Get("Location") == "" {
			t.Errorf("HEAD %s: %d", path, status)
		}
	}
	f.refused("GET", "/broker/consume/t/g/9", "").want(t, "partition", 404, "unknown_partition", "")
	f.refused("GET", "/broker/consume/t/g/0?offset=2", "").want(t, "offset", 416, "offset_out_of_range", "")
	f.lead()
	for _, path := range []string{"/broker/consume/t/g/0", "/broker/topics", "/broker/topics/t"} {
		for _, query := range []string{"", "?consistency=leader"} {
			if status, text, _ := f.raw("GET", path+query, ""); status != 200 || strings.Contains(string(text), "role") {
				t.Errorf("%s: %d %s", path+query, status, text)
			}
		}
	}
}

// TestFollowerPageSize: the member that a follower adds is within max_bytes.
func TestFollowerPageSize(t *testing.T) {
	f := newClusterFixture(t, "auto")
	other := newOtherNode(1)
	frames := [][]byte{other.create(t, "t", 1)}
	for range 50 {
		frames = append(frames, other.produce(t, "t", strings.Repeat("v", 20), ""))
	}
	f.foreign(frames...)
	for _, most := range []int{500, 1000, 1500, 2000} {
		if _, text, _ := f.raw("GET", fmt.Sprint("/broker/consume/t/g/0?max_bytes=", most), ""); len(text) > most || len(text) < most/2 {
			t.Errorf("max_bytes=%d: %d", most, len(text))
		}
	}
}

// TestReadsWaitForABarrier: without a lease a leader asks before it answers; reads that come while it asks wait for the
// next time, because a barrier says nothing about what was committed after it began.
func TestReadsWaitForABarrier(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newClusterFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
		f.lead()
		f.call("POST", "/broker/topics", `{"name":"t","partitions":6}`)
		for p := range 6 {
			f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v")
		}
		f.cluster.set(func(c *fakeCluster) { c.leased, c.hold = false, true })
		read := func(p int) chan string {
			done := make(chan string, 1)
			c, r := f.dial()
			fmt.Fprint(c, get(fmt.Sprintf("/broker/consume/t/g/%d", p)))
			go func() { _, body := answer(t, r, "GET"); done <- body }()
			return done
		}
		first := read(0)
		waitFor(t, "a barrier", func() bool { return f.cluster.barriers() == 1 })
		if loops == 1 {
			later := []chan string{read(1), read(2), read(3)}
			f.call("GET", "/health", "") // the loop has turned
			if n := f.cluster.barriers(); n != 1 {
				t.Fatalf("%d barriers at the same time", n)
			}
			f.cluster.pass(nil)
			if body := <-first; !strings.Contains(body, `"count":1`) || strings.Contains(body, "role") {
				t.Fatal(body)
			}
			waitFor(t, "the next barrier", func() bool { return f.cluster.barriers() == 1 })
			f.cluster.pass(nil)
			for served := 0; served < len(later); { // the last of them may have come after that barrier began
				select {
				case body := <-later[served]:
					if served++; !strings.Contains(body, `"count":1`) {
						t.Fatal(body)
					}
				case <-time.After(time.Millisecond):
					if f.cluster.barriers() > 0 {
						f.cluster.pass(nil)
					}
				}
			}
			continue
		}
		f.cluster.pass(nil)
		if body := <-first; !strings.Contains(body, `"count":1`) {
			t.Fatal(body)
		}
	}
}

func TestReadsThatCannotBeConfirmed(t *testing.T) {
	f := newClusterFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	f.lead()
	f.call("POST", "/broker/topics", `{"name":"t","partitions":6}`)
	f.cluster.set(func(c *fakeCluster) { c.leased, c.refusal = false, errors.New("no answer from n2 and n3") })
	for p := range 6 {
		f.refused("GET", fmt.Sprintf("/broker/consume/t/g/%d", p), "").want(t, "consume", 503, "no_leader", "no answer from n2")
	}
	f.refused("GET", "/broker/topics?consistency=leader", "").want(t, "list", 503, "no_leader", "no answer")
	if status, m := f.call("GET", "/broker/topics", ""); status != 200 || m["count"] != 1.0 { // as it is here will do
		t.Error(status, m)
	}
}

// TestReadsAreGivenUp: a barrier that nobody answers does not keep a client for ever.
func TestReadsAreGivenUp(t *testing.T) {
	f := newClusterFixture(t, "auto", func(o *Options) { o.CommitTimeoutNs = int64(20 * time.Millisecond) })
	f.lead()
	f.create(1)
	f.cluster.set(func(c *fakeCluster) { c.leased, c.hold = false, true })
	for range 3 { // the first is asked for, the others wait for the next barrier
		f.refused("GET", "/broker/consume/t/g/0", "").want(t, "consume", 503, "no_leader", "in time")
	}
	f.cluster.set(func(c *fakeCluster) { c.leased = true })
	f.cluster.pass(nil)
	if status, m := f.call("GET", "/broker/consume/t/g/0", ""); status != 200 {
		t.Error(status, m)
	}
}

// TestALeaderWithoutALeaseIsDeposed while a read waits: the read says so, later ones are a follower's.
func TestALeaderWithoutALeaseIsDeposed(t *testing.T) {
	f := newClusterFixture(t, readsOn(t))
	f.lead()
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.cluster.set(func(c *fakeCluster) { c.leased, c.hold = false, true })
	c, r := f.dial()
	fmt.Fprint(c, get("/broker/consume/t/g/0")+get("/broker/consume/t/g/0"))
	waitFor(t, "a barrier", func() bool { return f.cluster.barriers() == 1 })
	f.depose("n2")
	f.cluster.pass(ErrNotLeader)
	if status, body := answer(t, r, "GET"); status != 503 || !strings.Contains(body, "no_leader") {
		t.Error(status, body)
	}
	if status, body := answer(t, r, "GET"); status != 200 || !strings.Contains(body, `"role":"follower"`) {
		t.Error(status, body)
	}
}

// TestConnectionsThatAreGone while their read waits are forgotten.
func TestConnectionsThatAreGone(t *testing.T) {
	f := newClusterFixture(t, readsOn(t))
	f.lead()
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.cluster.set(func(c *fakeCluster) { c.leased, c.hold = false, true })
	c, _ := f.dial()
	fmt.Fprint(c, get("/broker/consume/t/g/0"))
	waitFor(t, "a barrier", func() bool { return f.cluster.barriers() == 1 })
	_ = c.Close()
	f.call("GET", "/health", "")
	f.cluster.pass(nil)
	f.cluster.set(func(c *fakeCluster) { c.leased = true })
	if status, m := f.call("GET", "/broker/consume/t/g/0", ""); status != 200 {
		t.Error(status, m)
	}
}
