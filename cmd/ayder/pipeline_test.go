package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Pipelines against real servers that are killed again and again: every row is there once, and windows and joins are those that a query finds
// afterwards. The messages are numbered, so what has to come of them is known.

// pipeTest is a stream of numbered messages over four partitions, a second one of every third number, and three pipelines.
type pipeTest struct {
	*testing.T
	ask  func(method, target string, body []byte) proc.Response // retries until it is answered
	sent int
	// size is how many messages there will be.
	size int
}

const (
	pipeBatch = 500   // messages in a request
	pipeStep  = 10    // milliseconds between two
	pipeEnd   = 1e12  // event time of the message that closes all windows
	pipeLate  = 60000 // allowed_lateness_ms
)

var pipelines = map[string]string{
	"sevenths": `"query":{"source":{"topic":"in"},"filter":[{"field":"n","op":"ge","value":0},{"field":"s","op":"eq","value":0}],"transform":{"left_fields":["n"]}}`,
	"windows":  fmt.Sprintf(`"query":{"source":{"topic":"in"},"window":{"size_ms":1000,"ts_field":"ts","allowed_lateness_ms":%d},"aggregate":{"group_by":["k"],"measures":[{"op":"count"},{"op":"sum","field":"n"}]}}`, pipeLate),
	"pairs":    fmt.Sprintf(`"join":{"left":{"topic":"in"},"right":{"topic":"pays"},"on":{"left_key":"n","right_key":"n"},"window":{"size_ms":5000,"ts_field":"ts","allowed_lateness_ms":%d},"emit":{"left_fields":["n"],"right_fields":["n"]}}`, pipeLate),
}

func newPipeTest(t *testing.T, size int, ask func(method, target string, body []byte) proc.Response) *pipeTest {
	p := &pipeTest{T: t, ask: ask, size: size}
	p.must(201, "POST", "/broker/topics", `{"name":"in","partitions":4}`)
	p.must(201, "POST", "/broker/topics", `{"name":"pays","partitions":1}`)
	for name, what := range pipelines {
		p.must(201, "POST", "/broker/pipelines", fmt.Sprintf(`{"name":%q,%s,"into":%q}`, name, what, "rows."+name))
	}
	return p
}

func (p *pipeTest) must(status int, method, target, body string) proc.Response {
	p.Helper()
	r := p.ask(method, target, []byte(body))
	if r.Status != status {
		p.Fatalf("%s %s %.100s: %s", method, target, body, r.String())
	}
	return r
}

// produce puts the next batch in, once, however often it has to be tried.
func (p *pipeTest) produce() {
	p.Helper()
	var in, pays bytes.Buffer
	for n := p.sent; n < p.sent+pipeBatch; n++ {
		fmt.Fprintf(&in, `{"n":%d,"k":%d,"s":%d,"ts":%d}`+"\n", n, n%5, n%7, n*pipeStep)
		if n%3 == 0 {
			fmt.Fprintf(&pays, `{"n":%d,"ts":%d}`+"\n", n, n*pipeStep+3)
		}
	}
	p.must(200, "POST", fmt.Sprintf("/broker/topics/in/produce-ndjson?partition=%d&idempotency_key=%d", p.sent/pipeBatch%4, p.sent), in.String())
	p.must(200, "POST", fmt.Sprintf("/broker/topics/pays/produce-ndjson?partition=0&idempotency_key=%d", p.sent), pays.String())
	p.sent += pipeBatch
}

// finish closes all windows and waits until everything was read.
func (p *pipeTest) finish() {
	p.Helper()
	for _, topic := range []string{"in", "pays"} {
		p.must(200, "POST", "/broker/topics/"+topic+"/produce?partition=0&idempotency_key=end", fmt.Sprintf(`{"n":-1,"ts":%d}`, int64(pipeEnd)))
	}
	for name := range pipelines {
		deadline(p.T, name+" reads everything", func() bool {
			var d struct {
				State, Reason string
				Lag, Lost     uint64
			}
			if err := json.Unmarshal(p.must(200, "GET", "/broker/pipelines/"+name+"?consistency=leader", "").Body, &d); err != nil {
				p.Fatal(err)
			}
			if d.State == "failed" || d.Lost > 0 {
				p.Fatalf("%s: %+v", name, d)
			}
			return d.State == "running" && d.Lag == 0
		})
	}
}

// rows are what a pipeline has written.
func (p *pipeTest) rows(name string, visit func(row []byte)) {
	p.Helper()
	for offset := uint64(0); ; {
		r := p.must(200, "GET", fmt.Sprintf("/broker/consume/rows.%s/g/0?offset=%d&limit=1000&encoding=b64&consistency=leader", name, offset), "")
		var page proc.Page
		if err := r.JSON(&page); err != nil {
			p.Fatal(err)
		}
		for i := range page.Messages {
			visit(page.Messages[i].ValueB64)
		}
		if offset = page.Next; !page.Truncated {
			return
		}
	}
}

// check compares all rows with what has to be there.
func (p *pipeTest) check() {
	p.Helper()
	seen := make([]int, p.sent)
	p.rows("sevenths", func(row []byte) { seen[p.number(row)]++ })
	for n, times := range seen {
		if want := (n%7 + 6) / 7; times != 1-want {
			p.Fatalf("sevenths: %d is there %d times", n, times)
		}
	}
	clear(seen)
	p.rows("pairs", func(row []byte) {
		var r struct{ Left, Right struct{ N int } }
		if err := json.Unmarshal(row, &r); err != nil || r.Left != r.Right {
			p.Fatalf("pairs: %s %v", row, err)
		}
		if r.Left.N >= 0 {
			seen[r.Left.N]++
		}
	})
	for n, times := range seen {
		if want := n%3 == 0; times > 1 || want != (times == 1) {
			p.Fatalf("pairs: %d is there %d times", n, times)
		}
	}
	p.checkWindows()
}

// number is a row's n.
func (p *pipeTest) number(row []byte) int {
	var r struct{ N int }
	if err := json.Unmarshal(row, &r); err != nil || r.N < 0 || r.N >= p.sent {
		p.Fatalf("row %s of %d: %v", row, p.sent, err)
	}
	return r.N
}

// windowRow is a row of the windows, and an aggregate of a query.
type windowRow struct {
	Group struct{ K int }
	Start int `json:"window_start_ms"`
	Count int
	Sum   int `json:"sum_n"`
}

// windowCell names one.
type windowCell struct{ start, k int }

func (r *windowRow) cell() windowCell { return windowCell{r.Start, r.Group.K} }

// checkWindows compares windows with what a query finds, and with what is known of them.
func (p *pipeTest) checkWindows() {
	p.Helper()
	got, want := map[windowCell]windowRow{}, map[windowCell]windowRow{}
	p.rows("windows", func(row []byte) {
		var r windowRow
		if err := json.Unmarshal(row, &r); err != nil {
			p.Fatalf("windows: %s %v", row, err)
		}
		if _, twice := got[r.cell()]; twice {
			p.Fatalf("windows: twice: %s", row)
		}
		got[r.cell()] = r
	})
	for n := range p.sent {
		at := windowCell{n * pipeStep / 1000 * 1000, n % 5}
		r := want[at]
		r.Group.K, r.Start, r.Count, r.Sum = at.k, at.start, r.Count+1, r.Sum+n
		want[at] = r
	}
	p.sameWindows("the numbers", got, want)
	if p.sent >= 100_000 { // more than a query looks at
		return
	}
	var found struct{ Aggregates []windowRow }
	q := `{"source":{"topic":"in","limit":100000},"filter":[{"field":"n","op":"ge","value":0}],"window":{"size_ms":1000,"ts_field":"ts"},"aggregate":{"group_by":["k"],"measures":[{"op":"count"},{"op":"sum","field":"n"}]}}`
	if err := json.Unmarshal(p.must(200, "POST", "/broker/query", q).Body, &found); err != nil {
		p.Fatal(err)
	}
	clear(want)
	for _, r := range found.Aggregates {
		want[r.cell()] = r
	}
	p.sameWindows("the query", got, want)
}

func (p *pipeTest) sameWindows(whose string, got, want map[windowCell]windowRow) {
	p.Helper()
	for at, r := range want {
		if got[at] != r {
			p.Fatalf("window %+v is %+v, by %s %+v", at, got[at], whose, r)
		}
	}
	if len(got) != len(want) {
		p.Fatalf("%d windows, by %s %d", len(got), whose, len(want))
	}
}

// A million messages go through, and the server is killed again and again: while they come and while the rest is read.
func TestPipelinesSurviveKills(t *testing.T) {
	t.Parallel()
	size, kills := scale(1_000_000, 60_000, 10_000), scale(40, 5, 2)
	k := keepUp(t, proc.Options{}, "")
	p := newPipeTest(t, size, k.ask)
	rng := rand.New(rand.NewPCG(1, 9))
	killed := 0
	for p.sent < size {
		p.produce()
		if p.sent*(kills+1)/size > killed+1 {
			time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond) // at any moment of a step
			mustKill(t, k.Server)
			killed++
		}
	}
	mustKill(t, k.Server) // and once with all the rest to be read
	p.finish()
	mustKill(t, k.Server) // and once with nothing left
	p.finish()
	p.check()
	for name := range pipelines {
		t.Logf("%.400s", p.must(200, "GET", "/broker/pipelines/"+name, "").Body)
	}
	if out, code := ayderCheck(t, k.Server); code != 0 || !strings.Contains(out, "ok") {
		t.Errorf("check: %d, %s", code, out)
	}
}

// The same in a cluster whose leader is killed again and again.
func TestPipelinesSurviveLeaders(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	size, kills := scale(200_000, 30_000, 10_000), scale(20, 4, 2)
	p := newPipeTest(t, size, func(method, target string, body []byte) proc.Response { return g.any(method, target, body) })
	var down *groupNode
	killed := 0
	for p.sent < size {
		p.produce()
		if p.sent*(kills+1)/size > killed {
			if down != nil {
				g.start(down)
			}
			down = g.leader()
			mustKill(t, down.Server)
			killed++
		}
	}
	p.finish()
	p.check()
	g.start(down)
	p.finish()
	p.check()
	for _, n := range g.nodes {
		g.eventually(n.id+" knows how far they are", func() bool {
			r, err := n.get("/broker/pipelines/windows")
			return err == nil && strings.Contains(string(r.Body), `"lag":0`)
		})
	}
}

// What a pipeline needs is in checkpoints: the log gives all the space of its input and of its steps back, and it goes on after a kill.
func TestSpaceOfPipelinesComesBack(t *testing.T) {
	t.Parallel()
	s := proc.Run(t, proc.Options{Args: smallSegments})
	c := s.Connect(t)
	post := func(target, body string, status int) {
		t.Helper()
		if r, err := c.Post(target, []byte(body)); err != nil || r.Status != status {
			t.Fatal(r.String(), err)
		}
	}
	if err := c.CreateTopic("in", 1); err != nil {
		t.Fatal(err)
	}
	post("/broker/pipelines", `{"name":"p","query":{"source":{"topic":"in"},"window":{"size_ms":10,"ts_field":"n","allowed_lateness_ms":100},"aggregate":{"measures":[{"op":"count"}]}},"into":"rows","into_partition":1}`, 201)
	n := 0
	produce := func(count int) {
		for range count {
			post("/broker/topics/in/produce?partition=0", fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", 100_000)), 200)
			n++
		}
	}
	progress := func() (d struct {
		Rows, Lag, Lost, Steps uint64
		State                  string
	},
	) {
		r, err := c.Get("/broker/pipelines/p")
		if err != nil || r.Status != 200 {
			t.Fatal(r.String(), err)
		}
		if err := r.JSON(&d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	readAll := func() {
		t.Helper()
		deadline(t, "everything was read", func() bool { d := progress(); return d.Lag == 0 && d.State == "running" })
	}
	produce(400)
	readAll()
	full := logBytes(t, s.Dir)
	if err := deleteBelow(c, "in", 0, 400); err != nil {
		t.Fatal(err)
	}
	deadline(t, "most of it", func() bool { return logBytes(t, s.Dir) < full/2 })
	before := progress()
	mustKill(t, s)
	s = s.Again(t)
	c = s.Connect(t)
	if after := progress(); after.Rows != before.Rows || after.Steps != before.Steps {
		t.Fatalf("%+v, before the kill %+v", after, before)
	}
	produce(200)
	readAll()
	d := progress()
	counted := uint64(0)
	end, err := c.Each("rows", 1, 0, func(m *proc.Message) error {
		var row struct{ Count uint64 }
		counted += 10
		if err := json.Unmarshal(m.ValueB64, &row); err != nil || row.Count != 10 {
			return fmt.Errorf("row %s: %v", m.ValueB64, err)
		}
		return nil
	})
	if err != nil || end != d.Rows || d.Lost > 0 || counted < 480 {
		t.Fatalf("%d rows count %d messages: %v; %+v", end, counted, err, d)
	}
}
