package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/auth"
	"ayder/internal/metrics"
	"ayder/internal/record"
	"ayder/internal/timing"
	"ayder/netpoll"
)

// benchLoop is a loop without sockets: requests are parsed, routed and executed, and the batch that
// they filled becomes durable when the benchmark says so. Answers are not rendered.
type benchLoop struct {
	*loop
	conn  *conn
	index uint64
}

// idleLog admits everything and is given nothing.
type idleLog struct{}

func (idleLog) Admit() error         { return nil }
func (idleLog) Append(*record.Batch) { panic("bug: nothing is appended here") }
func (idleLog) Deliver()             {}

func newBenchLoop(tb testing.TB) *benchLoop {
	tb.Helper()
	tokens, err := auth.Parse("dev")
	if err != nil {
		tb.Fatal(err)
	}
	e := engine.New(engine.Config{Shards: 1})
	s := NewServer(Options{
		Engine: e, Tokens: auth.NewHolder(tokens), HTTP: httpparse.DefaultLimits(), Loops: 1, CommitsInFlight: 1,
		CommitTimeoutNs: int64(time.Second), DefaultPartitions: 1, AutoCreate: true,
	})
	l := &benchLoop{loop: &loop{
		server: s, net: &netpoll.Loop{}, shard: e.Shard(0), log: idleLog{},
		recorder: timing.NewRecorder(len(routeNames)), counters: metrics.NewCounters(len(routeNames)),
	}}
	l.conn = &conn{loop: l.loop, owed: 1}
	l.request([]byte(post("/broker/topics", `{"name":"t","partitions":1}`)))
	l.commit()
	return l
}

// request executes one request.
func (l *benchLoop) request(text []byte) {
	n, err := l.parser.Head(text, &l.server.options.HTTP)
	if err != nil || n == 0 {
		panic(fmt.Sprint("bug: ", n, err))
	}
	if l.run(l.conn.exchange(&l.parser.Request, text[:n], text[n:])) {
		panic("bug: the request is held back")
	}
}

// commit applies the open batch and empties it.
func (l *benchLoop) commit() {
	c := l.open
	l.index++
	c.batch.Seal(record.Header{Index: l.index, Term: 1}, 1)
	if err := l.shard.Apply(c.batch.Frame()); err != nil {
		panic("bug: " + err.Error())
	}
	clear(c.waiters)
	c.waiters, c.messages = c.waiters[:0], 0
	c.batch.Reset(batchBytesKept)
	c.batch.TimeMs = 1
}

// BenchmarkProduce is what a produce costs between the receive buffer and the log: head, route, token,
// query, encoding, parking, and its share of applying a batch of 64.
func BenchmarkProduce(b *testing.B) {
	value := strings.Repeat("v", 64)
	for name, text := range map[string]string{
		"plain": post("/broker/topics/t/produce?partition=0", value),
		"curl": "POST /broker/topics/t/produce?partition=0&key=user-7 HTTP/1.1\r\nHost: 127.0.0.1:1109\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" +
			"Authorization: Bearer dev\r\nContent-Length: 64\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n" + value,
		"ndjson of 10": post("/broker/topics/t/produce-ndjson?partition=0", strings.Repeat(`{"user":"u-7","n":12}`+"\n", 10)),
	} {
		b.Run(name, func(b *testing.B) {
			l, request := newBenchLoop(b), []byte(text)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l.request(request)
				if n++; n%64 == 0 {
					l.commit()
				}
			}
		})
	}
}

// oneSection is a reader of a partition that consists of one section.
type oneSection struct{ section record.Section }

func (r oneSection) Read(_ record.Stream, _, end uint64, _ bool, visit func(record.Section) bool) (uint64, error) {
	visit(r.section)
	return end, nil
}

func (r oneSection) ReadSince(s record.Stream, offset, end, _ uint64, visit func(record.Section) bool) (uint64, error) {
	return r.Read(s, offset, end, true, visit)
}

// section returns n records of size bytes as they lie in the log.
func section(n, size int) record.Section {
	b := record.NewBatch()
	for i := range n {
		b.AppendRecord(record.Stream{Topic: 1}, uint64(i), &record.Record{TimeMs: 1_700_000_000_000, Value: []byte(strings.Repeat("v", size))})
	}
	b.Seal(record.Header{Index: 1, Term: 1}, 1)
	f := b.Frame()
	it := f.Iter()
	s, _ := it.Next()
	return s
}

// BenchmarkPage renders a page from memory; "encoding-json" is the same page by the standard library.
func BenchmarkPage(b *testing.B) {
	r := oneSection{section(100, 64)}
	for name, b64 := range map[string]bool{"b64": true, "text": false} {
		b.Run(name, func(b *testing.B) {
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				pg := page{end: 100, limit: 100, bytes: consumeBytes, b64: b64, out: out[:0], partitionText: []byte(`,"partition":0,`)}
				if err := pg.read(r, false); err != nil || pg.count != 100 {
					b.Fatal(pg.count, err)
				}
				out = pg.finish()
			}
			b.SetBytes(int64(len(out)))
		})
	}
	type message struct {
		Offset    uint64  `json:"offset"`
		Partition uint32  `json:"partition"`
		Value     []byte  `json:"value_b64"`
		Key       *[]byte `json:"key_b64"`
		TimeMs    uint64  `json:"ts_ms"`
	}
	type answer struct {
		Messages  []message `json:"messages"`
		Count     int       `json:"count"`
		Next      uint64    `json:"next_offset"`
		Committed uint64    `json:"committed_offset"`
		Truncated bool      `json:"truncated"`
	}
	b.Run("encoding-json", func(b *testing.B) {
		size := 0
		b.ReportAllocs()
		for b.Loop() {
			a := answer{Count: 100, Next: 100}
			it := r.section.Records()
			for m, ok := it.Next(); ok; m, ok = it.Next() {
				a.Messages = append(a.Messages, message{Offset: uint64(len(a.Messages)), Value: m.Value, TimeMs: m.TimeMs})
			}
			text, err := json.Marshal(a)
			if err != nil {
				b.Fatal(err)
			}
			size = len(text)
		}
		b.SetBytes(int64(size))
	})
}

// BenchmarkNDJSON checks a body of 1 MiB; "encoding-json" is what the check would cost with json.Valid.
func BenchmarkNDJSON(b *testing.B) {
	for _, line := range []string{
		`{"n":1}`, `{"id":12345,"user":"user-7","amount":12.5,"ts":1712345678901,"tags":["a","b"],"ok":true}`, `{"msg":"` + strings.Repeat("lorem ipsum dolor sit amet ", 20) + `"}`,
	} {
		body := []byte(strings.Repeat(line+"\n", 1<<20/len(line)))
		b.Run(fmt.Sprintf("lines of %d", len(line)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := checkLines(body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("encoding-json, lines of %d", len(line)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				for line, rest := nextLine(body); len(rest) > 0; line, rest = nextLine(rest) {
					if !json.Valid(line) {
						b.Fatal("invalid")
					}
				}
			}
		})
	}
}
