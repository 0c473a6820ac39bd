package httpparse_test

import (
	"fmt"

	"ayder/httpparse"
)

// Two requests arrive in one read, the second one malformed.
func ExampleParser_Head() {
	buf := []byte("POST /produce?key=a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + "GET /x\x00 HTTP/1.1\r\n\r\n")
	var p httpparse.Parser
	for {
		n, err := p.Head(buf, nil)
		if err != nil {
			e := err.(*httpparse.Error)
			fmt.Println(e.Status, e.Code)
			return // answer once, then close
		}
		if n == 0 {
			return // wait for more
		}
		r := &p.Request
		size := n + int(max(r.ContentLength, 0))
		fmt.Printf("%s %s %q\n", r.Method, r.Path, buf[n:size])
		buf = buf[size:]
	}
	// Output:
	// POST /produce "hello"
	// 400 bad_target
}

// A body is decoded over its own encoding.
func ExampleChunked() {
	buf := []byte("5\r\nhello\r\n7;note=x\r\n, world\r\n0\r\n\r\nGET /next")
	var d httpparse.Chunked
	body, used, done, err := d.Decode(buf[:0], buf, 1<<20)
	fmt.Printf("%q %v %v, then %q\n", body, done, err, buf[used:])
	// Output:
	// "hello, world" true <nil>, then "GET /next"
}
