package httpparse

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
)

// Three heads as they really come, and net/http's reader over the same bytes for scale (it
// also builds maps and strings, which is the point of not using it).
const (
	wrkHead = "POST /broker/topics/bench/produce?partition=0 HTTP/1.1\r\nHost: 127.0.0.1:1109\r\n" +
		"Authorization: Bearer dev\r\nContent-Length: 64\r\n\r\n"
	curlHead = "POST /broker/topics/events/produce?partition=0&key=user-42 HTTP/1.1\r\nHost: localhost:1109\r\nUser-Agent: curl/8.5.0\r\n" +
		"Accept: */*\r\nAuthorization: Bearer dev\r\nContent-Length: 19\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
	browserHead = "GET /broker/topics HTTP/1.1\r\nHost: localhost:1109\r\nConnection: keep-alive\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
		"Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\nSec-Fetch-Site: none\r\n" +
		"Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-US,en;q=0.9\r\n\r\n"
)

func benchmarkHead(b *testing.B, head string) {
	var p Parser
	buf, lim := []byte(head), DefaultLimits()
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := p.Head(buf, &lim); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func benchmarkNetHTTP(b *testing.B, head string) {
	src := strings.NewReader(head)
	r := bufio.NewReader(src)
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(head)
		r.Reset(src)
		if _, err := http.ReadRequest(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeadWrk(b *testing.B)     { benchmarkHead(b, wrkHead) }
func BenchmarkHeadCurl(b *testing.B)    { benchmarkHead(b, curlHead) }
func BenchmarkHeadBrowser(b *testing.B) { benchmarkHead(b, browserHead) }

func BenchmarkNetHTTPWrk(b *testing.B)     { benchmarkNetHTTP(b, wrkHead) }
func BenchmarkNetHTTPCurl(b *testing.B)    { benchmarkNetHTTP(b, curlHead) }
func BenchmarkNetHTTPBrowser(b *testing.B) { benchmarkNetHTTP(b, browserHead) }

// BenchmarkHeadByteByByte is one browser head in as many pieces as it has bytes.
func BenchmarkHeadByteByByte(b *testing.B) {
	var p Parser
	buf, lim := []byte(browserHead), DefaultLimits()
	b.ReportAllocs()
	for b.Loop() {
		var at Progress
		for size := range len(buf) {
			if n, err := p.Resume(buf[:size], &at, &lim); n != 0 || err != nil {
				b.Fatal(n, err)
			}
		}
	}
}

func chunkedBody(chunks, size int) string {
	chunk := fmt.Sprintf("%x\r\n%s\r\n", size, strings.Repeat("x", size))
	return strings.Repeat(chunk, chunks) + "0\r\n\r\n"
}

func BenchmarkChunked(b *testing.B) {
	for _, c := range []struct{ chunks, size int }{{1000, 1}, {100, 100}, {4, 16 << 10}} {
		body := []byte(chunkedBody(c.chunks, c.size))
		dst := make([]byte, 0, len(body))
		b.Run(fmt.Sprintf("%dx%d", c.chunks, c.size), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var d Chunked
				if _, _, done, err := d.Decode(dst, body, 1<<20); !done || err != nil {
					b.Fatal(done, err)
				}
			}
		})
	}
}

func BenchmarkNetHTTPChunked(b *testing.B) {
	for _, c := range []struct{ chunks, size int }{{1000, 1}, {100, 100}, {4, 16 << 10}} {
		body := []byte(chunkedBody(c.chunks, c.size))
		b.Run(fmt.Sprintf("%dx%d", c.chunks, c.size), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(bytes.NewReader(body))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkQuery(b *testing.B) {
	q := []byte("partition=0&key=user%2042&idempotency_key=2f1c9a&timeout_ms=100")
	var dst [64]byte
	b.ReportAllocs()
	for b.Loop() {
		it := Query(q)
		for {
			_, v, ok := it.Next()
			if !ok {
				break
			}
			if QueryNeedsUnescape(v) {
				if _, err := UnescapeQuery(dst[:0], v); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
