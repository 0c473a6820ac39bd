package httpparse

import (
	"bytes"
	"strings"
	"testing"
)

const bodyMax = 1 << 20

// decoded is all that a chunked body can give.
type decoded struct {
	body string
	used int
	done bool
	err  error
}

func decodeWhole(in string, max int64) decoded {
	var d Chunked
	out, used, done, err := d.Decode(nil, []byte(in), max)
	return decoded{string(out), used, done, err}
}

// decodeParts decodes in cut up into parts of the given size.
func decodeParts(in string, size int, max int64) decoded {
	var d Chunked
	var r decoded
	var out []byte
	for at := 0; at < len(in) && !r.done && r.err == nil; at += size {
		part := []byte(in[at:min(at+size, len(in))])
		var used int
		out, used, r.done, r.err = d.Decode(out, part, max)
		r.used += used
		if r.err == nil && !r.done && used != len(part) {
			panic("bug: bytes left over in the middle of a body")
		}
	}
	r.body = string(out)
	return r
}

// decodeInPlace decodes over the input itself, as it arrives size bytes at a time behind a
// head of two bytes.
func decodeInPlace(in string, size int, max int64) decoded {
	var d Chunked
	var r decoded
	buf := []byte("hd" + in)
	out := buf[2:2]
	for at := 2; at < len(buf) && !r.done && r.err == nil; at += size {
		var used int
		out, used, r.done, r.err = d.Decode(out, buf[at:min(at+size, len(buf))], max)
		r.used += used
	}
	if len(out) > 0 && &out[0] != &buf[2] {
		panic("bug: decoding in place moved the body")
	}
	r.body = string(out)
	return r
}

// checkChunked wants the same from every way to decode.
func checkChunked(t testing.TB, in string, max int64) decoded {
	t.Helper()
	whole := decodeWhole(in, max)
	for _, size := range []int{1, 2, 3, 7, len(in) + 1} {
		if parts := decodeParts(in, size, max); parts != whole {
			t.Fatalf("%q\n whole %+v\n by %d %+v", in, whole, size, parts)
		}
		if place := decodeInPlace(in, size, max); place != whole {
			t.Fatalf("%q\n whole    %+v\n in place, by %d %+v", in, whole, size, place)
		}
	}
	return whole
}

func TestChunkedAccepts(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, c := range []struct{ in, body string }{
		{"0\r\n\r\n", ""},
		{"000\r\n\r\n", ""},
		{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
		{"0005\r\nhello\r\n0\r\n\r\n", "hello"},
		{"0000000000000001\r\nZ\r\n0000000000000000\r\n\r\n", "Z"},
		{"a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
		{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
		{"fF\r\n" + long + "\r\n0\r\n\r\n", long},
		{"2\r\n\r\n\r\n0\r\n\r\n", "\r\n"},
		{"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"},
		// extensions
		{"1;a\r\nx\r\n0;b\r\n\r\n", "x"},
		{"1;a;b=c;d=\"e\"\r\nx\r\n0\r\n\r\n", "x"},
		{"1 ; a\r\nx\r\n0\r\n\r\n", "x"},
		{"1 \t;\ta = b ; c = \"d\" ;e\r\nx\r\n0\r\n\r\n", "x"},
		{"1;a=\"\"\r\nx\r\n0\r\n\r\n", "x"},
		{"1;a=\"q;=\\\"\\\\\t\xff\"\r\nx\r\n0\r\n\r\n", "x"},
		{"1;a=1\r\nx\r\n0\r\n\r\n", "x"},
		{"1;a=\"\\a\\;\\=\\ \\!\"\r\nx\r\n0\r\n\r\n", "x"},
		// trailers
		{"1\r\nx\r\n0\r\na: b\r\nC:\r\nd:\te\xff \r\n\r\n", "x"},
		{"0\r\nVary: *\r\nContent-Type: text/plain\r\n\r\n", ""},
		{"0\r\nHost: evil\r\n\r\n", ""}, // dropped, so harmless
	} {
		got := checkChunked(t, c.in, bodyMax)
		if want := (decoded{c.body, len(c.in), true, nil}); got != want {
			t.Errorf("%q: %+v, want %+v", c.in, got, want)
		}
		next := checkChunked(t, c.in+"GET / HTTP/1.1\r\n", bodyMax)
		if next != got {
			t.Errorf("%q: the next request was touched: %+v", c.in, next)
		}
	}
}

// As for heads, '¦' stands behind the byte that decides.
func TestChunkedErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		want *Error
	}{
		{"\r¦\n", ErrChunkSize},
		{"\n¦", ErrChunkSize},
		{" ¦1\r\nx\r\n", ErrChunkSize},
		{";¦a\r\n", ErrChunkSize},
		{"x¦\r\n", ErrChunkSize},
		{"-¦1\r\nx", ErrChunkSize},
		{"+¦1\r\nx", ErrChunkSize},
		{"0x¦1\r\n", ErrChunkSize},
		{"1x¦\r\n", ErrChunkSize},
		{"1g¦\r\n", ErrChunkSize},
		{"1_¦0\r\n", ErrChunkSize},
		{"1\n¦x", ErrChunkSize},
		{"1\x00¦", ErrChunkSize},
		{"1\rx¦", ErrLineEnd},
		{"1\r\r¦\n", ErrLineEnd},
		{"1 \r¦\nx", ErrChunkExtension},
		{"1 A¦\r\nx", ErrChunkExtension},
		{"1\t\n¦", ErrChunkExtension},
		{"00000000000000001¦\r\nx", ErrChunkSize},
		{"ffffffffffffffff\r\n¦x", ErrBodyTooLarge},
		{"8000000000000000\r\n¦x", ErrBodyTooLarge},
		{"7fffffffffffffff\r\n¦x", ErrBodyTooLarge},
		{"100001\r\n¦x", ErrBodyTooLarge},
		{"1\r\nx\r\n100000\r\n¦x", ErrBodyTooLarge},
		{"1\r\nxy¦", ErrChunkEnd},
		{"1\r\nx\n¦0\r\n\r\n", ErrChunkEnd},
		{"1\r\nx\r\r¦\n", ErrChunkEnd},
		{"1\r\nx0¦\r\n\r\n", ErrChunkEnd},
		{"1\r\nx\r\n\r¦\n", ErrChunkSize},
		{"1\r\nx\r\n ¦0\r\n\r\n", ErrChunkSize},
		// extensions
		{"1;\r¦\n", ErrChunkExtension},
		{"1;;¦\r\n", ErrChunkExtension},
		{"1;=¦a\r\n", ErrChunkExtension},
		{"1;a=\r¦\n", ErrChunkExtension},
		{"1;a=;¦\r\n", ErrChunkExtension},
		{"1;a==¦\r\n", ErrChunkExtension},
		{"1;a \r¦\n", ErrChunkExtension},
		{"1;a b¦\r\n", ErrChunkExtension},
		{"1;a=b \r¦\n", ErrChunkExtension},
		{"1;a=b c¦", ErrChunkExtension},
		{"1;a=b=¦c", ErrChunkExtension},
		{"1;a=\"b\"c¦", ErrChunkExtension},
		{"1;a=\"b\r¦\n", ErrChunkExtension},
		{"1;a=\"\\\r¦\n", ErrChunkExtension},
		{"1;a=\"\x7f¦", ErrChunkExtension},
		{"1;a\n¦", ErrChunkExtension},
		{"1;a\x00¦", ErrChunkExtension},
		{"1;a\xff¦", ErrChunkExtension},
		{"1;a=b\n¦", ErrChunkExtension},
		{"1;a=\"b\n¦\"", ErrChunkExtension},
		{"1;a\rb¦", ErrLineEnd},
		// trailers
		{"0\r\n\n¦", ErrTrailer},
		{"0\r\n ¦a: b\r\n", ErrTrailer},
		{"0\r\n:¦ b\r\n", ErrTrailer},
		{"0\r\na ¦: b\r\n", ErrTrailer},
		{"0\r\na\r¦\n", ErrTrailer},
		{"0\r\na: b\n¦\r\n", ErrTrailer},
		{"0\r\na: b\x00¦", ErrTrailer},
		{"0\r\na: b\rc¦", ErrTrailer},
		{"0\r\na: b\r\n ¦c\r\n", ErrTrailer},
		{"0\r\n\rx¦", ErrTrailer},
		{"0\n¦\r\n", ErrChunkSize},
	} {
		at := strings.Index(c.in, "¦")
		in := strings.Replace(c.in, "¦", "", 1)
		got := checkChunked(t, in, bodyMax)
		if got.err != c.want || got.used != at-1 || got.done {
			t.Errorf("%q: %+v, want %v at %d", in, got, c.want, at-1)
		}
	}
}

func TestChunkedIncomplete(t *testing.T) {
	in := "5;a=\"b\"\r\nhello\r\n0\r\nt: v\r\n\r\n"
	for k := range len(in) {
		if got := checkChunked(t, in[:k], bodyMax); got.done || got.err != nil || got.used != k {
			t.Errorf("%q: %+v", in[:k], got)
		}
	}
}

func TestChunkedLimits(t *testing.T) {
	body := strings.Repeat("1\r\nx\r\n", 10)
	if got := checkChunked(t, body+"0\r\n\r\n", 10); !got.done || got.body != strings.Repeat("x", 10) {
		t.Errorf("%+v", got)
	}
	if got := checkChunked(t, body+"0\r\n\r\n", 9); got.err != ErrBodyTooLarge || got.body != strings.Repeat("x", 9) {
		t.Errorf("%+v", got)
	}
	if got := checkChunked(t, "1\r\n", 0); got.err != ErrBodyTooLarge {
		t.Errorf("%+v", got)
	}
	if got := checkChunked(t, "0\r\n\r\n", 0); !got.done {
		t.Errorf("%+v", got)
	}

	// ";aaa…" counts its name and the CR.
	longest := "1;" + strings.Repeat("a", chunkExtensionBytesMax-1)
	if got := decodeWhole(longest+"\r\nx\r\n0\r\n\r\n", bodyMax); !got.done {
		t.Errorf("%+v", got)
	}
	if got := decodeWhole(longest+"a\r\nx\r\n0\r\n\r\n", bodyMax); got.err != ErrChunkExtensions {
		t.Errorf("%+v", got)
	}
	many := strings.Repeat("1;aaaaaaaaaaaaaaa\r\nx\r\n", chunkExtensionBytesMax/16)
	if got := decodeWhole(many+"0\r\n\r\n", bodyMax); !got.done {
		t.Errorf("%+v", got)
	}
	if got := decodeWhole(many+"0;a\r\n\r\n", bodyMax); got.err != ErrChunkExtensions {
		t.Errorf("%+v", got)
	}

	trailers := "0\r\n" + strings.Repeat("abcd: f\r\n", trailerBytesMax/9-1)
	rest := trailerBytesMax - (len(trailers) - 3) - 2
	trailers += "t:" + strings.Repeat("v", rest-4) + "\r\n"
	if got := decodeWhole(trailers+"\r\n", bodyMax); !got.done || got.used != 3+trailerBytesMax {
		t.Errorf("%+v", got)
	}
	if got := decodeWhole(trailers+"x:\r\n\r\n", bodyMax); got.err != ErrTrailersTooLarge {
		t.Errorf("%+v", got)
	}
}

func TestChunkedStates(t *testing.T) {
	var d Chunked
	if _, _, _, err := d.Decode(nil, []byte("z"), bodyMax); err != ErrChunkSize {
		t.Fatal(err)
	}
	if _, used, done, err := d.Decode(nil, []byte("0\r\n\r\n"), bodyMax); used != 0 || done || err != ErrChunkSize {
		t.Errorf("an error must stay: %d %v %v", used, done, err)
	}
	d.Reset()
	if _, used, done, err := d.Decode(nil, []byte("0\r\n\r\n"), bodyMax); used != 5 || !done || err != nil {
		t.Errorf("after Reset: %d %v %v", used, done, err)
	}
	if out, used, done, err := d.Decode([]byte("k"), []byte("more"), bodyMax); used != 0 || !done || err != nil || string(out) != "k" {
		t.Errorf("after the end: %q %d %v %v", out, used, done, err)
	}
	if out, used, done, err := new(Chunked).Decode([]byte("k"), nil, bodyMax); used != 0 || done || err != nil || string(out) != "k" {
		t.Errorf("nothing: %q %d %v %v", out, used, done, err)
	}
}

// What Decode appends to dst must not disturb what is there.
func TestChunkedAppends(t *testing.T) {
	dst := append(make([]byte, 0, 64), "before "...)
	out, _, done, err := new(Chunked).Decode(dst, []byte("5\r\nafter\r\n0\r\n\r\n"), bodyMax)
	if string(out) != "before after" || !done || err != nil || !bytes.Equal(dst, []byte("before ")) {
		t.Errorf("%q %v %v", out, done, err)
	}
}
