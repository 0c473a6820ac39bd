package httpparse

import (
	"slices"
	"testing"
)

func TestUnescape(t *testing.T) {
	for _, c := range []struct{ in, path, query string }{
		{"", "", ""},
		{"abc", "abc", "abc"},
		{"a+b", "a+b", "a b"},
		{"%61%2f%2F%00", "a//\x00", "a//\x00"},
		{"%ff%FF", "\xff\xff", "\xff\xff"},
		{"+%2B+", "+++", " + "},
		{"%25%32%35", "%25", "%25"}, // decoded once
		{"x%20y+z", "x y+z", "x y z"},
	} {
		for _, f := range []struct {
			name string
			fn   func(dst, src []byte) ([]byte, error)
			want string
		}{{"path", UnescapePath, c.path}, {"query", UnescapeQuery, c.query}} {
			if got, err := f.fn([]byte("pre:"), []byte(c.in)); err != nil || string(got) != "pre:"+f.want {
				t.Errorf("%s %q: %q, %v", f.name, c.in, got, err)
			}
			src := []byte(c.in)
			if got, err := f.fn(src[:0], src); err != nil || string(got) != f.want {
				t.Errorf("%s %q in place: %q, %v", f.name, c.in, got, err)
			}
		}
		if PathNeedsUnescape([]byte(c.in)) != (c.in != c.path) || QueryNeedsUnescape([]byte(c.in)) != (c.in != c.query) {
			t.Errorf("%q: needs unescaping", c.in)
		}
	}
	for _, in := range []string{"%", "a%", "%4", "%4g", "%g4", "%%41", "%-1", "% 1", "%+1", "abc%4", "%\xff\xff"} {
		if _, err := UnescapePath(nil, []byte(in)); err != ErrEscape {
			t.Errorf("path %q: %v", in, err)
		}
		if _, err := UnescapeQuery(nil, []byte(in)); err != ErrEscape {
			t.Errorf("query %q: %v", in, err)
		}
	}
}

func TestQuery(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // key, value, key, value …; "<nil>" for a value without '='
	}{
		{"", nil},
		{"&", nil},
		{"&&&", nil},
		{"a", []string{"a", "<nil>"}},
		{"a=", []string{"a", ""}},
		{"=", []string{"", ""}},
		{"=v", []string{"", "v"}},
		{"a=b", []string{"a", "b"}},
		{"a=b=c&d", []string{"a", "b=c", "d", "<nil>"}},
		{"&a=1&&b=2&", []string{"a", "1", "b", "2"}},
		{"a=1;b=2", []string{"a", "1;b=2"}},
		{"a=%26&b=+", []string{"a", "%26", "b", "+"}},
		{"a=1&a=2", []string{"a", "1", "a", "2"}},
	} {
		var got []string
		it := Query([]byte(c.in))
		for {
			k, v, ok := it.Next()
			if !ok {
				break
			}
			got = append(got, string(k))
			if v == nil {
				got = append(got, "<nil>")
			} else {
				got = append(got, string(v))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
		if _, _, ok := it.Next(); ok {
			t.Errorf("%q: the end does not stay", c.in)
		}
	}
	none := Query(nil)
	if _, _, ok := none.Next(); ok {
		t.Error("a nil query has a pair")
	}
}
