package api

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func gzipped(t testing.TB, parts ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, part := range parts { // one member each
		w := gzip.NewWriter(&b)
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func noise(size int) string {
	b := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(b)
	return string(b)
}

func TestGzipBodies(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) { o.DefaultPartitions = 1 })
		sizes := []int{0, 1, 1000, inlineInflateBytes - 1, inlineInflateBytes, inlineInflateBytes + 1, 1 << 20, 8 << 20}
		for _, size := range sizes {
			for _, body := range []string{noise(size), strings.Repeat("x", size)} {
				z := gzipped(t, body)
				if len(z) > 8<<20 { // the body limit holds for what is sent, too
					f.refused("POST", "/broker/topics/t/produce", z, "Content-Encoding", "gzip").want(t, "large", 413, "body_too_large", "")
					continue
				}
				for _, coding := range []string{"gzip", "x-GZIP"} {
					status, m := f.call("POST", "/broker/topics/t/produce", z, "Content-Encoding", coding)
					if status != 200 {
						t.Fatal(size, status, m)
					}
					_, page := f.call("GET", fmt.Sprintf("/broker/consume/t/g/0?max_bytes=16777216&encoding=b64&offset=%v", m["offset"]), "")
					if got := page["messages"].([]any)[0].(map[string]any)["value_b64"]; got != string(appendBase64(nil, []byte(body))) {
						t.Fatalf("a message of %d bytes came back as another", size)
					}
				}
			}
		}
		status, m := f.call("POST", "/broker/topics/t/produce", gzipped(t, "in two ", "members"), "Content-Encoding", "gzip")
		if _, page := f.call("GET", fmt.Sprintf("/broker/consume/t/g/0?offset=%v", m["offset"]), ""); status != 200 || !strings.Contains(fmt.Sprint(page), "in two members") {
			t.Error(status, m, page)
		}
		var lines strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&lines, "{\"n\":%d}\n", i)
		}
		for _, body := range []string{"1\n2\n", lines.String()} {
			status, m = f.call("POST", "/broker/topics/n/produce-ndjson", gzipped(t, body), "Content-Encoding", "gzip")
			if status != 200 || m["count"] != float64(strings.Count(body, "\n")) {
				t.Error(status, m)
			}
		}
	})
}

func TestBadGzip(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.DefaultPartitions = 1 })
	good := gzipped(t, strings.Repeat("some text ", 20_000))
	var zl bytes.Buffer
	w := zlib.NewWriter(&zl)
	_, _ = w.Write([]byte("v"))
	_ = w.Close()
	flipped := []byte(good)
	flipped[len(flipped)-6] ^= 1 // the checksum
	small := []byte(gzipped(t, "small"))
	small[len(small)-1] ^= 1 // the length
	for name, body := range map[string]string{
		"empty": "", "plain": "plain text", "zlib": zl.String(), "cut head": good[:5], "cut": good[:len(good)-9], "cut trailer": good[:len(good)-1],
		"checksum": string(flipped), "length": string(small), "rest": good + "rest", "large plain": strings.Repeat("plain", 50_000), "small and rest": gzipped(t, "v") + "x",
	} {
		for _, call := range []string{"produce", "produce-ndjson"} {
			f.refused("POST", "/broker/topics/t/"+call, body, "Content-Encoding", "gzip").want(t, name, 400, "bad_gzip", "")
		}
	}
	for _, coding := range []string{"zlib", "deflate", "br", "zstd", "gzip, gzip", "gzip;q=1", "aes128gcm"} {
		r := f.refused("POST", "/broker/topics/t/produce", good, "Content-Encoding", coding)
		r.want(t, coding, 415, "unsupported_encoding", "")
		if r.header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: Accept-Encoding %q", coding, r.header.Get("Accept-Encoding"))
		}
	}
	for path, body := range map[string]string{"/broker/topics": `{"name":"x"}`, "/broker/commit": `{"topic":"t","group":"g","partition":0,"offset":0}`} {
		f.refused("POST", path, gzipped(t, body), "Content-Encoding", "gzip").want(t, path, 415, "unsupported_encoding", "")
	}
	if status, _, _ := f.raw("GET", "/health", "", "Content-Encoding", "br"); status != 200 {
		t.Errorf("a coding of no body: %d", status)
	}
	if f.server.options.Engine.Topic([]byte("t")) != nil {
		t.Error("a refused body created its topic")
	}
}

// TestGzipBombs: what is small and stands for much is given up as soon as it is too much.
func TestGzipBombs(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.DefaultPartitions = 1; o.HTTP.BodyMax = 1 << 20 })
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 200 {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	for _, call := range []string{"produce", "produce-ndjson"} {
		f.refused("POST", "/broker/topics/t/"+call, b.String(), "Content-Encoding", "gzip").want(t, call, 413, "body_too_large", "1048576")
	}
	in := new(inflater)
	if out, err := in.inflate(nil, b.Bytes(), 1<<20); err != errInflated || cap(out) > 4<<20 {
		t.Errorf("%v, %d bytes of memory", err, cap(out))
	}
	f.refused("POST", "/broker/topics/t/produce", gzipped(t, strings.Repeat("x", 1<<20+1)), "Content-Encoding", "gzip").want(t, "one byte too many", 413, "body_too_large", "")
	if status, m := f.call("POST", "/broker/topics/t/produce", gzipped(t, strings.Repeat("x", 1<<20)), "Content-Encoding", "gzip"); status != 200 {
		t.Error(status, m)
	}
}

// TestGzipWhileTheBodyComes: a coding that is not taken is refused before the body has come, and answers keep their order.
func TestGzipWhileTheBodyComes(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.DefaultPartitions = 1 })
	c, r := f.dial()
	fmt.Fprint(c, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Encoding: br\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	if status, body := answer(t, r, "POST"); status != 415 {
		t.Fatal(status, body)
	}
	c, r = f.dial()
	large := gzipped(t, strings.Repeat("large", 100_000))
	var all strings.Builder
	for i := range 10 {
		body, coding := fmt.Sprint("plain", i), ""
		if i%2 == 1 {
			body, coding = large, "Content-Encoding: gzip\r\n"
		}
		fmt.Fprintf(&all, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\n%sContent-Length: %d\r\n\r\n%s", coding, len(body), body)
	}
	if _, err := io.WriteString(c, all.String()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, fmt.Sprintf(`"offset":%d,`, i)) {
			t.Fatal(i, status, body)
		}
	}
	chunked := gzipped(t, "in chunks")
	fmt.Fprintf(c, "POST /broker/topics/t/produce HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n",
		10, chunked[:10], len(chunked)-10, chunked[10:])
	if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, `"offset":10,`) {
		t.Fatal(status, body)
	}
	f.refused("GET", "/broker/consume/t/g/0?offset=12", "").want(t, "end", 416, "offset_out_of_range", "")
}

// TestGzipOnAnotherLoop: what was inflated stays inflated when the request goes to the partition's loop.
func TestGzipOnAnotherLoop(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	for i := range 24 {
		for _, body := range []string{fmt.Sprint("v", i), strings.Repeat(fmt.Sprint("v", i), 30_000)} {
			status, m := f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%8), gzipped(t, body), "Content-Encoding", "gzip")
			if status != 200 {
				t.Fatal(status, m)
			}
			_, page := f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d?offset=%v", i%8, m["offset"]), "")
			if got := page["messages"].([]any)[0].(map[string]any)["value"]; got != body {
				t.Fatalf("came back as %.40q", got)
			}
		}
	}
}

func TestGzipValues(t *testing.T) {
	f := newFixture(t, "auto")
	for _, value := range []string{"", "small", strings.Repeat("large", 100_000)} {
		for _, method := range []string{"POST", "PUT"} {
			if status, m := f.call(method, "/kv/ns/key", gzipped(t, value), "Content-Encoding", "gzip"); status != 200 {
				t.Fatal(method, status, m)
			}
			if _, got, _ := f.raw("GET", "/kv/ns/key?raw=1", ""); string(got) != value {
				t.Fatalf("%s: %d bytes came back, not %d", method, len(got), len(value))
			}
		}
	}
	f.refused("PUT", "/kv/ns/key", "plain", "Content-Encoding", "gzip").want(t, "plain", 400, "bad_gzip", "")
	f.refused("PUT", "/kv/ns/key", gzipped(t, strings.Repeat("x", 2<<20)), "Content-Encoding", "gzip").want(t, "large", 413, "body_too_large", "")
}

func TestInflateDoesNotAllocate(t *testing.T) {
	f, z := new(inflater), []byte(gzipped(t, strings.Repeat("some text ", 1000)))
	var out []byte
	if n := testing.AllocsPerRun(100, func() {
		var err error
		if out, err = f.inflate(out[:0], z, inlineInflateBytes); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte(gzipped(f, "v")), 100)
	f.Add([]byte(gzipped(f, strings.Repeat("x", 10_000), "y")), 5000)
	f.Fuzz(func(t *testing.T, z []byte, most int) {
		most = max(most%(1<<20), 0)
		in := new(inflater)
		first, err := in.inflate(nil, z, most)
		if err == nil && len(first) > most {
			t.Fatalf("%d bytes, at most %d", len(first), most)
		}
		if again, err2 := in.inflate(nil, z, most); (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(first, again) {
			t.Fatal("a reader that is used again finds something else")
		}
		r, err3 := gzip.NewReader(bytes.NewReader(z))
		if err3 != nil || err == errInflated {
			return
		}
		if want, err3 := io.ReadAll(io.LimitReader(r, int64(most)+1)); err == nil && (err3 != nil || !bytes.Equal(first, want)) {
			t.Fatalf("the standard library disagrees: %v", err3)
		}
	})
}
