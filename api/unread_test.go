package api

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Readers that ask for large pages and do not read them are refused more once the loop keeps
// enough for them; when they read or go, others are served again.
func TestUnreadPagesAreBounded(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) { o.IdleNs = int64(time.Hour) })
		f.call("POST", "/broker/topics/t/produce?partition=1", "small")
		for range 3 {
			f.call("POST", "/broker/topics/t/produce?partition=0", strings.Repeat("x", 7<<20))
		}
		want := get("/broker/consume/t/g/0?offset=0&max_bytes=16777216&encoding=b64")
		var refused, served bool
		var slow []net.Conn
		for range 60 {
			c, _ := f.dial()
			slow = append(slow, c)
			fmt.Fprint(c, want)
			status, _ := f.call("GET", "/broker/consume/t/g/1", "")
			refused = refused || status == 503
			if refused {
				break
			}
		}
		if !refused {
			t.Fatal("sixty unread pages of ten megabytes were all kept")
		}
		for _, c := range slow {
			_ = c.Close()
		}
		for end := time.Now().Add(30 * time.Second); !served && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			status, _ := f.call("GET", "/broker/consume/t/g/1", "")
			served = status == 200
		}
		if !served {
			t.Fatal("nobody is served after the slow readers have gone")
		}
	})
}
