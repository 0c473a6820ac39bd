package main

import (
	"testing"

	"ayder/internal/testkit/proc"
)

// A request that is refused for its target is still a request: its chunks are read to their end, and the next
// one on the connection is answered. If the chunks are broken, that is what is told.
func TestRefusedChunkedRequestsKeepTheConnection(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		for _, target := range []string{"/nowhere", "/health", "/broker/topics/no%ZZ/produce", "/broker/topics/x/produce?bogus=1"} {
			c := s.Connect(t)
			head := "POST " + target + " HTTP/1.1\r\n" + c.Header + "Transfer-Encoding: chunked\r\n\r\n"
			request := head + "5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"
			if err := c.Send([]byte(request + request)); err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				if r, err := c.Receive("POST"); err != nil || r.Status/100 != 4 {
					t.Errorf("%s, answer %d: %s, %v", target, i, r.String(), err)
				}
			}
			c = s.Connect(t)
			if err := c.Send([]byte(head + "-5\r\nhello\r\n0\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			if r, err := c.Receive("POST"); err != nil || r.Status != 400 {
				t.Errorf("%s with a bad chunk: %s, %v", target, r.String(), err)
			}
		}
	})
}
