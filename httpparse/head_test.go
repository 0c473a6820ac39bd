package httpparse

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The rules of the head. A refused request is written with a '¦' right after the byte that
// decides: every prefix before it must ask for more, it and every longer one must give the
// error. An accepted one is also shown byte by byte. check does both for every case here.

const start = "GET /x HTTP/1.1\r\nHost: h\r\n"

// outcome is all that a head can give.
type outcome struct {
	n   int
	err error
	req Request
}

// clone makes a Request that survives the next head; only the fields' array is reused.
func clone(r *Request) Request {
	c := *r
	c.Fields = slices.Clone(r.Fields)
	return c
}

func headOf(p *Parser, in []byte, lim *Limits) outcome {
	n, err := p.Head(in, lim)
	o := outcome{n: n, err: err}
	if n > 0 {
		o.req = clone(&p.Request)
	}
	return o
}

// drip shows in byte by byte and returns the first outcome that is not "more", with the
// number of bytes it took.
func drip(in []byte, lim *Limits) (o outcome, size int) {
	var p Parser
	var at Progress
	for size = range len(in) + 1 {
		n, err := p.Resume(in[:size:size], &at, lim)
		if n > 0 || err != nil {
			o = outcome{n: n, err: err}
			if n > 0 {
				o.req = clone(&p.Request)
			}
			if at != (Progress{}) {
				panic(fmt.Sprintf("bug: progress left after the verdict: %+v", at))
			}
			return o, size
		}
	}
	return outcome{}, len(in)
}

// check wants the same verdict whether in comes whole or byte by byte, and no change of it
// whatever follows.
func check(t testing.TB, in []byte, lim *Limits) outcome {
	t.Helper()
	var p Parser
	whole := headOf(&p, in, lim)
	split, size := drip(in, lim)
	if whole.n != split.n || whole.err != split.err || !reflect.DeepEqual(whole.req, split.req) {
		t.Fatalf("%q\n whole  %+v\n split  %+v", in, whole, split)
	}
	for k := size; k <= len(in) && (split.n > 0 || split.err != nil); k++ {
		if o := headOf(&p, in[:k], lim); o.n != split.n || o.err != split.err {
			t.Fatalf("%q: (%d, %v) with %d bytes, (%d, %v) with %d", in, split.n, split.err, size, o.n, o.err, k)
		}
	}
	return whole
}

func accept(t *testing.T, in string) *Request {
	t.Helper()
	o := check(t, []byte(in), nil)
	if o.err != nil || o.n == 0 {
		t.Fatalf("%q: n %d, err %v", in, o.n, o.err)
	}
	return &o.req
}

func refuse(t *testing.T, marked string, want *Error, lim *Limits) {
	t.Helper()
	at := strings.Index(marked, "¦")
	if at < 0 {
		t.Fatalf("%q has no mark", marked)
	}
	in := []byte(strings.Replace(marked, "¦", "", 1))
	if o := check(t, in, lim); o.err != want {
		t.Fatalf("%q: n %d, err %v, want %v", in, o.n, o.err, want)
	}
	if _, size := drip(in, lim); size != at {
		t.Fatalf("%q: %v found after %d bytes, visible after %d", in, want, size, at)
	}
}

func TestHeadComplete(t *testing.T) {
	in := "POST /broker/topics/t/produce?key=a%20b&x HTTP/1.1\r\nHost: example.com:1109\r\nauthorization:  Bearer dev \t\r\n" +
		"Content-Length: 3\r\nX-Empty:\r\nX-Tab:\ta\tb\t\r\n\r\n"
	o := check(t, []byte(in+"abc"), nil)
	if o.err != nil || o.n != len(in) {
		t.Fatal(o.n, o.err)
	}
	r := &o.req
	for _, c := range []struct{ what, got, want string }{
		{"method", string(r.MethodText), "POST"},
		{"target", string(r.Target), "/broker/topics/t/produce?key=a%20b&x"},
		{"path", string(r.Path), "/broker/topics/t/produce"},
		{"query", string(r.Query), "key=a%20b&x"},
		{"host", string(r.Host), "example.com:1109"},
		{"authorization", string(r.Authorization), "Bearer dev"},
		{"x-tab", string(r.Lookup("x-tab")), "a\tb"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if r.Method != POST || r.Minor != 1 || r.ContentLength != 3 || r.Chunked || !r.KeepAlive || r.Expect100 || r.HeadSize != len(in) || !r.HasBody() {
		t.Errorf("%+v", r)
	}
	if v := r.Lookup("x-empty"); v == nil || len(v) != 0 {
		t.Errorf("an empty value is %v, not empty", v)
	}
	if r.Lookup("x-none") != nil {
		t.Error("an absent field is not nil")
	}
}

func TestHeadFieldsKeepOrderAndSpelling(t *testing.T) {
	r := accept(t, start+"X-Ayder-H-A: 1\r\nx-ayder-h-b: 2\r\nX-AYDER-H-A: 3\r\n\r\n")
	var got []string
	for _, f := range r.Fields {
		got = append(got, string(f.Name)+"="+string(f.Value))
	}
	want := []string{"Host=h", "X-Ayder-H-A=1", "x-ayder-h-b=2", "X-AYDER-H-A=3"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A Request of the head before must not shine through.
func TestHeadStartsAnew(t *testing.T) {
	var p Parser
	full := "POST http://u/x?q HTTP/1.1\r\nHost: a\r\nAuthorization: b\r\nAccept: c\r\nContent-Type: d\r\nContent-Encoding: e\r\n" +
		"Origin: f\r\nIf-None-Match: g\r\nLast-Event-ID: h\r\nConnection: close\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
	if n, err := p.Head([]byte(full), nil); n != len(full) || err != nil {
		t.Fatal(n, err)
	}
	bare := "GET / HTTP/1.0\r\n\r\n"
	want := Request{
		Method: GET, MethodText: []byte("GET"), Target: []byte("/"), Path: []byte("/"),
		ContentLength: -1, Fields: []Field{}, HeadSize: len(bare),
	}
	if n, err := p.Head([]byte(bare), nil); n != len(bare) || err != nil || !reflect.DeepEqual(p.Request, want) {
		t.Errorf("n %d, err %v, %+v", n, err, p.Request)
	}
}

// Whether the refusal may have a body depends on this request's method, not on the last one's.
func TestMethodAfterError(t *testing.T) {
	var p Parser
	for _, c := range []struct {
		in   string
		want Method
	}{
		{"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", HEAD},
		{"\r\n\n", Other},
		{"HEAD / HTTP/1.1\r\nX : y\r\n\r\n", HEAD},
		{"\x00", Other},
		{"HEAD /\x00", HEAD},
		{"GET / HTTP/1.1\r\n\r\n", GET},
	} {
		if _, _ = p.Head([]byte(c.in), nil); p.Request.Method != c.want {
			t.Errorf("%q: %v", c.in, p.Request.Method)
		}
	}
}

func TestHeadPipelined(t *testing.T) {
	var p Parser
	buf := []byte(strings.Repeat(start+"\r\n", 3))
	for k := range 3 {
		n, err := p.Head(buf, nil)
		if err != nil || n != len(start)+2 {
			t.Fatalf("request %d: %d, %v", k, n, err)
		}
		buf = buf[n:]
	}
	if n, err := p.Head(buf, nil); n != 0 || err != nil {
		t.Errorf("nothing left: %d, %v", n, err)
	}
}

func TestBlankLinesBefore(t *testing.T) {
	lines := strings.Repeat("\r\n", blankLinesMax)
	o := check(t, []byte(lines+start+"\r\n"), nil)
	if want := len(lines) + len(start) + 2; o.n != want || o.req.HeadSize != want || o.err != nil {
		t.Errorf("n %d, want %d, err %v", o.n, want, o.err)
	}
	refuse(t, lines+"\r¦\nGET", ErrBlankLines, nil)
	refuse(t, "\n¦\nGET / HTTP/1.1\r\n", ErrLineEnd, nil)
	refuse(t, "\r\n\n¦GET / HTTP/1.1\r\n", ErrLineEnd, nil)
	refuse(t, "\rG¦ET / HTTP/1.1\r\n", ErrLineEnd, nil)
	refuse(t, "\r\n ¦GET / HTTP/1.1\r\n", ErrMethod, nil)
}

func TestMethods(t *testing.T) {
	for text, want := range map[string]Method{
		"GET": GET, "HEAD": HEAD, "POST": POST, "PUT": PUT, "DELETE": DELETE, "OPTIONS": OPTIONS, "PATCH": PATCH,
		"TRACE": TRACE, "get": Other, "BREW": Other, "-BLARGH": Other, "M-SEARCH": Other, "!#$%&'*+-.^_`|~0Az": Other,
		strings.Repeat("M", methodSizeMax): Other,
	} {
		r := accept(t, text+" / HTTP/1.1\r\nHost: h\r\n\r\n")
		if r.Method != want || string(r.MethodText) != text {
			t.Errorf("%s: %v %q", text, r.Method, r.MethodText)
		}
	}
	if GET.String() != "GET" || TRACE.String() != "TRACE" || Other.String() != "OTHER" || Method(200).String() != "OTHER" {
		t.Error("names")
	}
}

func TestMethodErrors(t *testing.T) {
	for _, in := range []string{
		" ¦/ HTTP/1.1\r\n", "G\t¦T / HTTP/1.0\r\n", ":¦GET / HTTP/1.0\r\n", "GET\r¦\n", "GET\n¦/", "GET\x00¦", "G\xc3¦\x9f / ",
		"\x16¦\x03\x01", // a TLS client on the plain port
		"{¦\"json\":1}", "(¦", "G@¦", "G[¦", "G]¦", "G{¦", "G}¦", "G\\¦", "G/¦", "G?¦", "G=¦", "G,¦", "G;¦", "G<¦", "G>¦", "G\"¦", "G\x7f¦",
	} {
		refuse(t, in, ErrMethod, nil)
	}
	refuse(t, strings.Repeat("M", methodSizeMax+1)+"¦MM / HTTP/1.1\r\n", ErrMethodTooLong, nil)
}

func TestRequestLineErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		want *Error
	}{
		{"GET  ¦/ HTTP/1.1\r\n", ErrRequestLine},
		{"GET \r¦\n", ErrRequestLine},
		{"GET /\r¦\n", ErrRequestLine}, // HTTP/0.9
		{"GET /\n¦", ErrRequestLine},
		{"GET HTTP/1.1\r¦\n", ErrRequestLine},
		{"GET /  ¦HTTP/1.1\r\n", ErrRequestLine},
		{"GET /a b¦/ HTTP/1.1\r\n", ErrRequestLine},
		{"GET / h¦ttp/1.1\r\n", ErrRequestLine},
		{"GET / F¦TP/1.1\r\n", ErrRequestLine},
		{"GET / HTTPS¦/1.1\r\n", ErrRequestLine},
		{"GET / HTTP/x¦.1\r\n", ErrRequestLine},
		{"GET / HTTP/11¦.1\r\n", ErrRequestLine},
		{"GET / HTTP/1,¦1\r\n", ErrRequestLine},
		{"GET / HTTP/1.x¦\r\n", ErrRequestLine},
		{"GET / HTTP/1.\r¦\n", ErrRequestLine},
		{"GET / HTTP/2.0¦\r\n", ErrVersion},
		{"GET / HTTP/0.9¦9\r\n", ErrVersion},
		{"PRI * HTTP/2.0¦\r\n\r\nSM\r\n\r\n", ErrVersion},
		{"GET / HTTP/1.1 ¦\r\n", ErrLineEnd},
		{"GET / HTTP/1.11¦\r\n", ErrLineEnd},
		{"GET / HTTP/1.1\n¦Host: h\n\n", ErrLineEnd},
		{"GET / HTTP/1.1\rH¦ost: h\r\n", ErrLineEnd},
		{"GET / HTTP/1.1\r\r¦\n", ErrLineEnd},
		{"GET /\t¦ HTTP/1.1\r\n", ErrTargetByte},
		{"GET /a\x00¦b HTTP/1.1\r\n", ErrTargetByte},
		{"GET /a\x7f¦b HTTP/1.1\r\n", ErrTargetByte},
		{"GET /a\x80¦b HTTP/1.1\r\n", ErrTargetByte},
		{"GET /caf\xc3¦\xa9 HTTP/1.1\r\n", ErrTargetByte},
		{"GET /aaaaaaaaaaaaaaaaaaaaaaaa\xff¦b HTTP/1.1\r\n", ErrTargetByte},
		{"GET /a#¦b HTTP/1.1\r\n", ErrFragment},
		{"GET /aaaaaaaaaaaaaaaaaaaaaaaa#¦b HTTP/1.1\r\n", ErrFragment},
	} {
		refuse(t, c.in, c.want, nil)
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		in    string
		minor uint8
	}{{"1.0", 0}, {"1.1", 1}, {"1.2", 1}, {"1.9", 1}} {
		if r := accept(t, "GET / HTTP/"+c.in+"\r\nHost: h\r\n\r\n"); r.Minor != c.minor {
			t.Errorf("%s is taken for 1.%d", c.in, r.Minor)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	for _, c := range []struct {
		line string
		want *Error
	}{
		{" ¦X: y", ErrFieldFold},
		{"\t¦X: y", ErrFieldFold},
		{":¦ y", ErrFieldName},
		{"X ¦: y", ErrFieldName},
		{"X\t¦: y", ErrFieldName},
		{"A ¦b: y", ErrFieldName},
		{"X\r¦\n", ErrFieldName},
		{"X\n¦Y: z", ErrFieldName},
		{"X\x00¦Y: z", ErrFieldName},
		{"X\xff¦Y: z", ErrFieldName},
		{"\x0b¦X: z", ErrFieldName},
		{"(¦): z", ErrFieldName},
		{"{¦: 1", ErrFieldName},
		{"X: a\x00¦b", ErrFieldValue},
		{"X: a\x01¦b", ErrFieldValue},
		{"X:\x0b¦b", ErrFieldValue},
		{"X: aaaaaaaaaaaaaaaaaaaa\x1f¦b", ErrFieldValue},
		{"X: \x7f¦b", ErrFieldValue},
		{"X: aaaaaaaaaaaaaaaaaaaa\x7f¦", ErrFieldValue},
		{"X: a\n¦b", ErrLineEnd},
		{"X: a\rb¦", ErrLineEnd},
		{"X: a\r\r¦\n", ErrLineEnd},
		{"X: a\r\n ¦folded", ErrFieldFold},
		{"X: a\r\n\t¦folded", ErrFieldFold},
		{"X: a\r\n\n¦", ErrFieldName},
		{"X: a\r\n\rZ¦", ErrLineEnd},
	} {
		refuse(t, start+c.line+"\r\n\r\n", c.want, nil)
	}
}

// Every byte at every distance from the start of a word, against the definition of the class.
func TestFieldBytes(t *testing.T) {
	var p Parser
	for c := range 256 {
		for pad := range 18 {
			for tail := range 10 {
				in := start + "X:" + strings.Repeat("v", pad) + string([]byte{byte(c)}) + strings.Repeat("\x80", tail) + "\r\n\r\n"
				good := c == '\t' || c >= ' ' && c != 0x7f
				if n, err := p.Head([]byte(in), nil); good != (err == nil && n == len(in)) {
					t.Fatalf("byte %#x after %d bytes in a value: n %d, err %v", c, pad, n, err)
				}
			}
		}
		good := strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		in := start + "X" + string([]byte{byte(c)}) + "X: y\r\n\r\n"
		if _, err := p.Head([]byte(in), nil); c != ':' && good != (err == nil) {
			t.Errorf("byte %#x in a name: %v", c, err)
		}
	}
}

func TestTargetBytes(t *testing.T) {
	var p Parser
	for c := range 256 {
		for pad := range 18 {
			for tail := range 10 {
				in := "GET /" + strings.Repeat("p", pad) + string([]byte{byte(c)}) + strings.Repeat("~", tail) + " HTTP/1.0\r\n\r\n"
				good := c > ' ' && c < 0x7f && c != '#'
				if n, err := p.Head([]byte(in), nil); good != (err == nil && n == len(in)) {
					t.Fatalf("byte %#x after %d bytes in a target: n %d, err %v", c, pad, n, err)
				}
			}
		}
	}
}

func TestLimits(t *testing.T) {
	lim := &Limits{RequestLineMax: 32, HeadMax: 96, FieldsMax: 3, BodyMax: 10}
	line := func(size int) string { return "GET /" + strings.Repeat("a", size-16) + " HTTP/1.0\r\n" }
	head := func(size int) string { return line(32) + "X: " + strings.Repeat("b", size-32-7) + "\r\n\r\n" }

	for _, in := range []string{line(32) + "\r\n", "\r\n\r\n" + line(32) + "\r\n", head(96), line(20) + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n"} {
		if o := check(t, []byte(in), lim); o.n != len(in) || o.err != nil {
			t.Errorf("%q: %d, %v", in, o.n, o.err)
		}
	}
	refuse(t, line(33)[:32]+"¦\n", ErrTargetTooLong, lim)
	refuse(t, line(60)[:32]+"¦"+line(60)[32:], ErrTargetTooLong, lim)
	refuse(t, "\r\n"+line(33)[:32]+"¦\n", ErrTargetTooLong, lim)
	refuse(t, head(97)[:96]+"¦\n", ErrHeadTooLarge, lim)
	refuse(t, head(200)[:96]+"¦"+head(200)[96:], ErrHeadTooLarge, lim)
	refuse(t, line(32)+strings.Repeat("n", 64)+"¦n: b\r\n\r\n", ErrHeadTooLarge, lim)
	refuse(t, line(20)+"A: 1\r\nB: 2\r\nC: 3\r\nD¦: 4\r\n\r\n", ErrFieldsTooMany, lim)
	refuse(t, line(20)+"Content-Length: 11\r\n\r\n¦", ErrBodyTooLarge, lim)
	accept10 := line(20) + "Content-Length: 10\r\n\r\n"
	if o := check(t, []byte(accept10), lim); o.err != nil || o.req.ContentLength != 10 {
		t.Error(o)
	}
	// A head that may hold less than a request line is odd, not a panic.
	odd := &Limits{RequestLineMax: 100, HeadMax: 20, FieldsMax: 1, BodyMax: 1}
	refuse(t, line(40)[:20]+"¦"+line(40)[20:], ErrTargetTooLong, odd)
	refuse(t, line(20)+"¦\r\n", ErrHeadTooLarge, odd)
}

func TestLimitsDefault(t *testing.T) {
	lim := DefaultLimits()
	if want := (Limits{8 << 10, 32 << 10, 100, 8 << 20}); lim != want {
		t.Errorf("%+v, want %+v", lim, want)
	}
	var p Parser
	for _, c := range []struct {
		in   string
		want error
	}{
		{"GET /" + strings.Repeat("a", lim.RequestLineMax) + " HTTP/1.1\r\n", ErrTargetTooLong},
		{start + "X: " + strings.Repeat("a", lim.HeadMax) + "\r\n", ErrHeadTooLarge},
		{start + strings.Repeat("X: y\r\n", 100) + "\r\n", ErrFieldsTooMany},
		{start + "Content-Length: 8388609\r\n\r\n", ErrBodyTooLarge},
	} {
		if n, err := p.Head([]byte(c.in), nil); n != 0 || err != c.want {
			t.Errorf("%.40q…: %d, %v, want %v", c.in, n, err, c.want)
		}
	}
}

// Byte by byte, the whole head is looked at a few times per line, not once per byte.
func TestResumeIsNotQuadratic(t *testing.T) {
	const lines = 90
	in := []byte("GET /" + strings.Repeat("t", 4000) + " HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X-Name: "+strings.Repeat("v", 280)+"\r\n", lines) + "\r\n")
	var p Parser
	var at Progress
	looks := 0
	for size := range len(in) {
		if before := at; !before.harmless(in[:size]) {
			looks++
		}
		if n, err := p.Resume(in[:size], &at, nil); n != 0 || err != nil {
			t.Fatal(size, n, err)
		}
	}
	if n, err := p.Resume(in, &at, nil); n != len(in) || err != nil {
		t.Fatal(n, err)
	}
	if most := 6*(lines+1) + 32; looks > most {
		t.Errorf("%d looks at a head of %d bytes, at most %d expected", looks, len(in), most)
	}
}

// Two connections may share a parser: nothing of an incomplete head is kept in it.
func TestResumeInterleaved(t *testing.T) {
	var p Parser
	heads := [][]byte{[]byte("GET /one HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"), []byte("PUT /second?q HTTP/1.0\r\nA: bcd\r\nEf:\r\n\r\n")}
	var at [2]Progress
	var done [2]int
	for size := 1; size < 60; size++ {
		for k, h := range heads {
			if done[k] > 0 || size > len(h) {
				continue
			}
			n, err := p.Resume(h[:size], &at[k], nil)
			if err != nil {
				t.Fatal(err)
			}
			if done[k] = n; n > 0 && string(p.Request.MethodText) != string(h[:3]) {
				t.Errorf("head %d came out as %q", k, p.Request.MethodText)
			}
		}
	}
	if done[0] != len(heads[0]) || done[1] != len(heads[1]) {
		t.Error(done)
	}
}

// A caller that mixes up its Progress gets the right answer all the same.
func TestResumeWithShorterInput(t *testing.T) {
	var p Parser
	var at Progress
	if n, err := p.Resume([]byte(start+"X: yyyyyyyyyyyyyyyyyyyyyy"), &at, nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := p.Resume([]byte("BAD\x00"), &at, nil); n != 0 || err != ErrMethod {
		t.Error(n, err)
	}
}

func TestErrors(t *testing.T) {
	seenBefore := map[*Error]bool{}
	for _, e := range Errors() {
		if seenBefore[e] || e.Code == "" || e.Message == "" || e.Error() != e.Message || e.Status < 400 || e.Status > 599 {
			t.Errorf("%+v", e)
		}
		seenBefore[e] = true
	}
	if seenBefore[errMore] {
		t.Error("errMore is internal")
	}
	var p Parser
	_, err := p.Head([]byte("\x00"), nil)
	var e *Error
	if !errors.As(err, &e) || e != ErrMethod {
		t.Error(err)
	}
}
