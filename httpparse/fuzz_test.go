package httpparse

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Fuzzing holds the parser against slower descriptions of the same rules: itself byte by
// byte, the grammar as a regular expression, and the standard library where it is as strict.

// grammar is the head of RFC 9112 as this package reads it, without what fields mean.
var grammar = regexp.MustCompile("^(?:\r\n){0,8}" +
	"[!#$%&'*+\\-.^_`|~0-9A-Za-z]{1,32} [!-\"$-~]+ HTTP/1\\.[0-9]\r\n" +
	"(?:[!#$%&'*+\\-.^_`|~0-9A-Za-z]+:[\t -~\\x{80}-\\x{ff}]*\r\n)*\r\n")

// latin1 makes the regular expression see bytes as characters.
func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// grammatical errors are those that grammar must share.
var grammatical = []*Error{
	ErrBlankLines, ErrRequestLine, ErrMethod, ErrMethodTooLong, ErrTargetByte, ErrFragment, ErrLineEnd, ErrFieldName, ErrFieldFold,
	ErrFieldValue, ErrVersion,
}

func FuzzHead(f *testing.F) {
	for _, in := range []string{wrkHead, curlHead, browserHead} {
		f.Add([]byte(in))
	}
	lim := &Limits{RequestLineMax: 256, HeadMax: 700, FieldsMax: 20, BodyMax: 1 << 20}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 800 {
			return // check is quadratic
		}
		o := check(t, in, lim)
		match := grammar.FindString(latin1(in))
		if o.n > 0 {
			if size := len([]rune(match)); size != o.n {
				t.Fatalf("%q: %d bytes, by the grammar %d", in, o.n, size)
			}
			checkRequest(t, in, &o.req)
			compareNetHTTP(t, in, &o.req)
		}
		if e, _ := o.err.(*Error); slices.Contains(grammatical, e) && match != "" {
			t.Fatalf("%q: %v, but the grammar takes %q", in, o.err, match)
		}
	})
}

// checkRequest looks at what must hold for every Request.
func checkRequest(t *testing.T, in []byte, r *Request) {
	slices := [][]byte{
		r.MethodText, r.Target, r.Query, r.Host, r.Authorization, r.Accept, r.ContentType, r.ContentEncoding, r.Origin, r.IfNoneMatch,
		r.LastEventID,
	}
	for _, fd := range r.Fields {
		slices = append(slices, fd.Name, fd.Value)
		if len(fd.Name) == 0 || len(trim(fd.Value)) != len(fd.Value) {
			t.Fatalf("%q: field %q: %q", in, fd.Name, fd.Value)
		}
	}
	for _, s := range slices {
		if len(s) > 0 && !within(s, in[:r.HeadSize]) {
			t.Fatalf("%q: %q is not part of the head", in, s)
		}
	}
	if len(r.Path) == 0 && r.Method != CONNECT || r.Chunked && r.ContentLength >= 0 || r.Chunked && r.Minor == 0 || r.Minor > 1 {
		t.Fatalf("%q: %+v", in, r)
	}
}

// within tells whether s is a slice of b's memory.
func within(s, b []byte) bool {
	for i := range b {
		if &b[i] == &s[0] {
			return len(s) <= len(b)-i
		}
	}
	return false
}

// compareNetHTTP wants what both accept to mean the same; that only one accepts is a matter
// of strictness and only noted.
func compareNetHTTP(t *testing.T, in []byte, r *Request) {
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimLeft(in, "\r\n"))))
	if err != nil {
		t.Logf("net/http refuses %q: %v", in, err)
		return
	}
	chunked := len(std.TransferEncoding) == 1 && std.TransferEncoding[0] == "chunked"
	if std.Method != string(r.MethodText) || std.RequestURI != string(r.Target) || chunked != r.Chunked {
		t.Fatalf("%q: net/http reads %s %s, chunked %v", in, std.Method, std.RequestURI, chunked)
	}
	if !chunked && std.ContentLength != max(r.ContentLength, 0) {
		t.Fatalf("%q: length %d, net/http %d", in, r.ContentLength, std.ContentLength)
	}
	if close := std.Close; close == r.KeepAlive && r.Minor == uint8(std.ProtoMinor) {
		t.Fatalf("%q: keep alive %v, net/http's close %v", in, r.KeepAlive, close)
	}
}

func FuzzChunked(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		const max = 1 << 12
		whole := checkChunked(t, string(in), max)
		if parts := decodeParts(string(in), size&0xff+1, max); parts != whole {
			t.Fatalf("%q whole %+v, in parts of %d %+v", in, whole, size&0xff+1, parts)
		}
		if len(whole.body) > max || whole.used > len(in) || len(whole.body) > whole.used {
			t.Fatalf("%q: %+v", in, whole)
		}
		if !whole.done {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in[:whole.used])))
		if err != nil {
			t.Logf("httputil refuses %q: %v", in, err)
		} else if string(std) != whole.body {
			t.Fatalf("%q: %q, httputil %q", in, whole.body, std)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	f.Fuzz(func(t *testing.T, in []byte) {
		wantPath, errPath := url.PathUnescape(string(in))
		checkUnescape(t, in, UnescapePath, wantPath, errPath)
		wantQuery, errQuery := url.QueryUnescape(string(in))
		checkUnescape(t, in, UnescapeQuery, wantQuery, errQuery)
		checkQuery(t, in)
	})
}

func checkUnescape(t *testing.T, in []byte, fn func(dst, src []byte) ([]byte, error), want string, wantErr error) {
	t.Helper()
	got, err := fn(nil, in)
	if (err == nil) != (wantErr == nil) || err == nil && string(got) != want {
		t.Fatalf("%q: %q, %v, want %q, %v", in, got, err, want, wantErr)
	}
	src := bytes.Clone(in)
	if place, err := fn(src[:0], src); err == nil && string(place) != want {
		t.Fatalf("%q in place: %q, want %q", in, place, want)
	}
}

// checkQuery compares the iterator with strings.Split and strings.Cut.
func checkQuery(t *testing.T, in []byte) {
	it := Query(in)
	for _, pair := range strings.Split(string(in), "&") {
		if pair == "" {
			continue
		}
		key, value, has := strings.Cut(pair, "=")
		k, v, ok := it.Next()
		if !ok || string(k) != key || string(v) != value || (v != nil) != has {
			t.Fatalf("%q: %q=%q (%v), want %q", in, k, v, ok, pair)
		}
	}
	if k, v, ok := it.Next(); ok {
		t.Fatalf("%q: %q=%q too many", in, k, v)
	}
}
