package httpparse

import (
	"os"
	"syscall"
	"testing"
)

// guarded returns a function that places bytes so that they end right before a page that
// cannot be read: a load beyond them is a fault, not luck.
func guarded(t *testing.T) func(string) []byte {
	t.Helper()
	page := os.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	if err := syscall.Mprotect(mem[2*page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return func(s string) []byte {
		b := mem[2*page-len(s) : 2*page]
		copy(b, s)
		return b // its capacity reaches into the guard page, so appending to it by mistake faults too
	}
}

func TestGuardPage(t *testing.T) {
	place := guarded(t)
	var p Parser
	for _, in := range []string{
		wrkHead, curlHead, browserHead,
		"\r\n\r\nGET http://[::1]:80?q HTTP/1.0\r\nHost: a%41\r\nConnection: a, close\r\n\r\n",
		"CONNECT h:1 HTTP/1.1\r\nHost: h%4\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\tX\r\n\r\n",
	} {
		for size := range len(in) + 1 {
			var at Progress
			_, _ = p.Head(place(in[:size]), nil)
			_, _ = p.Resume(place(in[:size/2]), &at, nil)
			_, _ = p.Resume(place(in[:size]), &at, nil)
		}
	}
}

func TestGuardPageBodies(t *testing.T) {
	place := guarded(t)
	dst := make([]byte, 0, 256)
	for _, in := range []string{"5;a=\"\\b\";c\r\nhello\r\n0\r\nt: v\r\n\r\n", "ffffffffffffffff\r\n", "3\r\nabc\r\nzz"} {
		for size := range len(in) + 1 {
			var d Chunked
			_, _, _, _ = d.Decode(dst, place(in[:size]), bodyMax)
		}
	}
	for _, in := range []string{"a=b&c%41=%4+&d%", "%41%", "+%4", "=&=&"} {
		for size := range len(in) + 1 {
			b := place(in[:size])
			_, _ = UnescapePath(dst, b)
			_, _ = UnescapeQuery(dst, b)
			it := Query(b)
			for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
			}
		}
	}
}
