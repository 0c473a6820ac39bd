package httpparse

import "testing"

// Nothing here allocates once a parser has seen as many fields as it is going to see: not a
// request, not an incomplete one, not an error.
func TestNoAllocations(t *testing.T) {
	var p Parser
	var d Chunked
	lim := DefaultLimits()
	dst := make([]byte, 0, 256)
	head, partial, bad := []byte(browserHead), []byte(browserHead[:200]), []byte(start+"X: \x00")
	chunked := []byte("5;a=\"b\"\r\nhello\r\n0\r\nt: v\r\n\r\n")
	query := []byte("a=b&c=d%20e&f")
	if _, err := p.Head(head, &lim); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		fn   func()
	}{
		{"head", func() { _, _ = p.Head(head, &lim) }},
		{"default limits", func() { _, _ = p.Head(head, nil) }},
		{"partial head", func() {
			var at Progress
			_, _ = p.Resume(partial[:100], &at, &lim)
			_, _ = p.Resume(partial, &at, &lim)
		}},
		{"error", func() { _, _ = p.Head(bad, &lim) }},
		{"lookup", func() { _ = p.Request.Lookup("accept-language") }},
		{"chunked", func() {
			d.Reset()
			_, _, _, _ = d.Decode(dst, chunked, bodyMax)
		}},
		{"query", func() {
			it := Query(query)
			for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
				_, _ = UnescapeQuery(dst, v)
			}
		}},
	} {
		if n := testing.AllocsPerRun(100, c.fn); n != 0 {
			t.Errorf("%s: %v allocations", c.what, n)
		}
	}
}
