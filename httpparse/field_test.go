package httpparse

import (
	"strings"
	"testing"
)

func TestKnownFields(t *testing.T) {
	for _, c := range []struct {
		name string
		get  func(*Request) []byte
		list bool // a second line is legal
	}{
		{"Authorization", func(r *Request) []byte { return r.Authorization }, false},
		{"Accept", func(r *Request) []byte { return r.Accept }, true},
		{"Content-Type", func(r *Request) []byte { return r.ContentType }, false},
		{"Content-Encoding", func(r *Request) []byte { return r.ContentEncoding }, false},
		{"Origin", func(r *Request) []byte { return r.Origin }, false},
		{"If-None-Match", func(r *Request) []byte { return r.IfNoneMatch }, true},
		{"Last-Event-ID", func(r *Request) []byte { return r.LastEventID }, false},
	} {
		if r := accept(t, start+"\r\n"); c.get(r) != nil {
			t.Errorf("%s is there without a line", c.name)
		}
		for _, name := range []string{c.name, strings.ToLower(c.name), strings.ToUpper(c.name)} {
			if r := accept(t, start+name+": v\r\n\r\n"); string(c.get(r)) != "v" {
				t.Errorf("%s: %q", name, c.get(r))
			}
		}
		if r := accept(t, start+c.name+":\r\n\r\n"); c.get(r) == nil || len(c.get(r)) > 0 {
			t.Errorf("%s without a value: %q", c.name, c.get(r))
		}
		other := strings.ReplaceAll(c.name, "-", "_") + "~"
		if r := accept(t, start+other[1:]+": v\r\n\r\n"); c.get(r) != nil {
			t.Errorf("%s taken for %s", other[1:], c.name)
		}
		twice := start + c.name + ": v\r\n" + c.name + ": w\r\n"
		if !c.list {
			refuse(t, twice+"¦\r\n", ErrFieldRepeated, nil)
		} else if r := accept(t, twice+"\r\n"); string(c.get(r)) != "v" {
			t.Errorf("%s twice: %q", c.name, c.get(r))
		}
	}
}

// Names of a known length that are not the known name, by case-folding mistakes in particular:
// '-' is 0x2d and 0x0d|0x20, '_' differs from DEL by 0x20.
func TestUnknownFieldsOfKnownLength(t *testing.T) {
	for _, name := range []string{
		"Hos_", "h0st", "Accep_", "0rigin", "Expec1", "C0nnection", "Content_Type", "Content_Length", "Transfer_Encoding", "Content_Encoding",
	} {
		r := accept(t, start+name+": close, chunked, 5\r\n\r\n")
		if r.Chunked || r.ContentLength >= 0 || !r.KeepAlive || r.Expect100 || r.ContentType != nil || r.ContentEncoding != nil {
			t.Errorf("%s means something: %+v", name, r)
		}
	}
}

func TestContentLength(t *testing.T) {
	big := DefaultLimits()
	big.BodyMax = 1<<63 - 1
	for in, want := range map[string]int64{
		"0": 0, "5": 5, " 42 ": 42, "\t42\t": 42, "003": 3, "00000000000000000000000000": 0, "8388608": 8 << 20,
		"9223372036854775798": 1<<63 - 10, "9223372036854775799": 1<<63 - 9,
	} {
		if o := check(t, []byte(start+"Content-Length:"+in+"\r\n\r\n"), &big); o.err != nil || o.req.ContentLength != want {
			t.Errorf("%q: %d, %v", in, o.req.ContentLength, o.err)
		}
	}
	for _, in := range []string{"", " ", "-1", "-0", "+10", "0x10", "1 1", "1_0", "1,1", "5, 5", "1.0", "1e3", "notdigits", "١", "\"5\"", "5;"} {
		refuse(t, start+"Content-Length: "+in+"\r\n¦\r\n", ErrContentLength, nil)
	}
	for _, in := range []string{"18446744073709551616", "9999999999999999999", "1000000000000000000000000"} {
		refuse(t, start+"Content-Length: "+in+"\r\n¦\r\n", ErrBodyTooLarge, &big)
	}
	refuse(t, start+"Content-Length: 8388609\r\n\r\n¦", ErrBodyTooLarge, nil)
	refuse(t, start+"Content-Length: 5\r\nContent-Length: 5\r\n¦\r\n", ErrLengthRepeated, nil)
	refuse(t, start+"Content-Length: 0\r\nContent-Length: 5\r\n¦\r\n", ErrLengthRepeated, nil)
}

func TestTransferEncoding(t *testing.T) {
	for _, in := range []string{"chunked", "CHUNKED", " chunked \t", "cHuNkeD"} {
		if r := accept(t, start+"Transfer-Encoding:"+in+"\r\n\r\n"); !r.Chunked || r.ContentLength != -1 || !r.HasBody() {
			t.Errorf("%q: %+v", in, r)
		}
	}
	for _, in := range []string{
		"", "identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,", ",chunked", "chunkedchunked", "\"chunked\"",
		"chunked;q=1", "x-chunked", "\xffchunked", "chunked\x80", "cow chunked bar",
	} {
		refuse(t, start+"Transfer-Encoding: "+in+"\r\n¦\r\n", ErrTransferEncoding, nil)
	}
	refuse(t, start+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n¦\r\n", ErrTransferRepeated, nil)
	refuse(t, start+"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n¦\r\n", ErrTransferRepeated, nil)
	refuse(t, start+"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n¦\r\n", ErrTwoLengths, nil)
	refuse(t, start+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n¦\r\n", ErrTwoLengths, nil)
	refuse(t, start+"Content-Length: 5\r\nTransfer-Encoding: identity\r\n¦\r\n", ErrTwoLengths, nil)
	refuse(t, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n¦\r\n", ErrTransferVersion, nil)
}

func TestConnection(t *testing.T) {
	for _, c := range []struct {
		version, lines string
		want           bool
	}{
		{"1.1", "", true},
		{"1.1", "Connection: close\r\n", false},
		{"1.1", "Connection: Close \t\r\n", false},
		{"1.1", "Connection: keep-alive\r\n", true},
		{"1.1", "Connection: keep-alive, close\r\n", false},
		{"1.1", "Connection: te,\tCLOSE ,x\r\n", false},
		{"1.1", "Connection: te\r\nConnection: close\r\n", false},
		{"1.1", "Connection: closed\r\n", true},
		{"1.1", "Connection: x-close\r\n", true},
		{"1.1", "Connection: close=1\r\n", true},
		{"1.1", "Connection: ,,\r\n", true},
		{"1.1", "Connection:\r\n", true},
		{"1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", true},
		{"1.0", "", false},
		{"1.0", "Connection: keep-alive\r\n", true},
		{"1.0", "Connection: Keep-Alive\r\n", true},
		{"1.0", "Connection: x, keep-alive\r\n", true},
		{"1.0", "Connection: keep-alive\r\nConnection: close\r\n", false},
	} {
		if r := accept(t, "GET / HTTP/"+c.version+"\r\nHost: h\r\n"+c.lines+"\r\n"); r.KeepAlive != c.want {
			t.Errorf("%s %q: keep alive %v", c.version, c.lines, r.KeepAlive)
		}
	}
}

func TestExpect(t *testing.T) {
	for _, in := range []string{"100-continue", "100-Continue", " 100-CONTINUE\t"} {
		if r := accept(t, start+"Expect:"+in+"\r\nContent-Length: 1\r\n\r\n"); !r.Expect100 {
			t.Errorf("%q not recognised", in)
		}
	}
	for _, in := range []string{"", "200-ok", "100-continue, x", "100-continue;q=1"} {
		refuse(t, start+"Expect: "+in+"\r\nX: y\r\n\r\n¦", ErrExpectation, nil)
	}
	// The size is judged first: a body that is not wanted need not be expected.
	refuse(t, start+"Expect: x\r\nContent-Length: 99999999\r\n\r\n¦", ErrBodyTooLarge, nil)
	for _, in := range []string{"100-continue", "whatever"} {
		if r := accept(t, "POST / HTTP/1.0\r\nExpect: "+in+"\r\n\r\n"); r.Expect100 {
			t.Errorf("HTTP/1.0 with Expect: %s must be ignored", in)
		}
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		name, lower   string
		equal, prefix bool
	}{
		{"X-Ayder-H-Id", "x-ayder-h-", false, true},
		{"x-ayder-h-", "x-ayder-h-", true, true},
		{"X-AYDER-H", "x-ayder-h-", false, false},
		{"", "", true, true},
		{"a", "", false, true},
		{"@", "`", false, false},
		{"[", "{", false, false},
		{"\r", "-", false, false},
		{"\x10", "0", false, false},
		{"K", "k", true, true},
		{"\xcb", "\xeb", false, false},
	} {
		if EqualFold([]byte(c.name), c.lower) != c.equal || HasPrefixFold([]byte(c.name), c.lower) != c.prefix {
			t.Errorf("%q and %q", c.name, c.lower)
		}
	}
}
