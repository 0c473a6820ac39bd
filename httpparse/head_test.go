package httpparse

import "testing"

const wrkHead = "POST /broker/topics/bench/produce?partition=0 HTTP/1.1\r\nHost: 127.0.0.1:1109\r\nAuthorization: Bearer dev\r\nContent-Length: 64\r\n\r\n"

func TestHeadSmoke(t *testing.T) {
	var p Parser
	n, err := p.Head([]byte(wrkHead+"xx"), nil)
	if n != len(wrkHead) || err != nil {
		t.Fatal(n, err)
	}
	r := &p.Request
	if string(r.Path) != "/broker/topics/bench/produce" || string(r.Query) != "partition=0" || r.ContentLength != 64 || string(r.Host) != "127.0.0.1:1109" {
		t.Fatalf("%+v", r)
	}
}

func BenchmarkHeadWrk(b *testing.B) {
	var p Parser
	buf := []byte(wrkHead)
	lim := DefaultLimits()
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := p.Head(buf, &lim); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
