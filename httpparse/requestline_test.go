package httpparse

import "testing"

func TestTargetForms(t *testing.T) {
	const none = "<nil>"
	text := func(b []byte) string {
		if b == nil {
			return none
		}
		return string(b)
	}
	for _, c := range []struct{ method, target, path, query, host string }{
		{"GET", "/", "/", none, "h"},
		{"GET", "/?", "/", "", "h"},
		{"GET", "/a?b?c", "/a", "b?c", "h"},
		{"GET", "//a/../b;c=d", "//a/../b;c=d", none, "h"},
		{"GET", "/%2Fa%zz", "/%2Fa%zz", none, "h"},
		{"GET", `/"quoted"|^{}<>\` + "`", `/"quoted"|^{}<>\` + "`", none, "h"},
		{"GET", "http://example.com", "/", none, "example.com"},
		{"GET", "http://example.com/", "/", none, "example.com"},
		{"GET", "HTTP://example.com:80/a?b", "/a", "b", "example.com:80"},
		{"GET", "https://[::1]:8080/foo", "/foo", none, "[::1]:8080"},
		{"GET", "http://example.com?q=/1", "/", "q=/1", "example.com"},
		{"GET", "http://example.com:/", "/", none, "example.com:"},
		{"OPTIONS", "*", "*", none, "h"},
		{"OPTIONS", "/a", "/a", none, "h"},
		{"OPTIONS", "http://example.com", "*", none, "example.com"},
		{"OPTIONS", "http://example.com/", "/", none, "example.com"},
		{"OPTIONS", "http://example.com?q", "/", "q", "example.com"},
		{"CONNECT", "example.com:443", none, none, "example.com:443"},
		{"CONNECT", "[::1]:443", none, none, "[::1]:443"},
	} {
		r := accept(t, c.method+" "+c.target+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if string(r.Target) != c.target || text(r.Path) != c.path || text(r.Query) != c.query || text(r.Host) != c.host {
			t.Errorf("%s %s: target %q path %q query %q host %q", c.method, c.target, r.Target, text(r.Path), text(r.Query), text(r.Host))
		}
	}
}

func TestTargetFormErrors(t *testing.T) {
	for _, line := range []string{
		"GET *", "GET foo/bar", "GET example.com:80", "GET ftp://h/", "GET http:/", "GET http:///a", "GET http://", "GET http://?q",
		"GET http://:80/", "GET http://user@h/", "GET http://user:pw@h:1/", "GET http://h:x/", "GET http://[::1/", "GET http://a%zz/",
		"GET ws://h/", "OPTIONS **", "OPTIONS *?", "CONNECT /", "CONNECT h", "CONNECT h:", "CONNECT :443", "CONNECT h:a", "CONNECT u@h:1",
		"CONNECT http://h:1/", "CONNECT []%20:1", "CONNECT *",
	} {
		refuse(t, line+" HTTP/1.1\r\n¦Host: h\r\n\r\n", ErrTargetForm, nil)
	}
}

func TestHosts(t *testing.T) {
	for _, host := range []string{
		"", "a", "example.com", "foo-bar_baz.com", "1.2.3.4", "example.com:80", "example.com:", ":80", "[::1]", "[::1]:80",
		"[::ffff:1.2.3.4]:1", "0.0.0.0=5000", "a%41b", "a%2fb:1", "!$&'()*+,;=~", "EXAMPLE.com",
	} {
		if r := accept(t, "GET / HTTP/1.1\r\nHost: "+host+" \r\n\r\n"); string(r.Host) != host || r.Host == nil {
			t.Errorf("%q came out as %q", host, r.Host)
		}
	}
	for _, host := range []string{
		"a b", "a\tb", "::1", "a:b", "a:80:80", "u@h", "a/b", "h?q", "h\\x", "\xff", "caf\xc3\xa9", "[", "[]", "[::1", "[::1]x", "[::1]:x",
		"[foo]", "[v1.a:b]", "[:g:]", "a]", "%", "a%4", "a%4g", "a%4g:1", "\"h\"", "<h>", "h|", "localhost Transfer-Encoding: chunked",
	} {
		refuse(t, "GET / HTTP/1.1\r\nHost: "+host+"\r\n¦\r\n", ErrHost, nil)
	}
}

func TestHostRules(t *testing.T) {
	accept(t, "GET / HTTP/1.0\r\n\r\n")
	refuse(t, "GET / HTTP/1.1\r\n\r\n¦", ErrHostMissing, nil)
	refuse(t, "GET http://h/ HTTP/1.1\r\n\r\n¦", ErrHostMissing, nil)
	refuse(t, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n¦\r\n", ErrHostRepeated, nil)
	refuse(t, "GET / HTTP/1.0\r\nHost: a\r\nhOST: b\r\n¦\r\n", ErrHostRepeated, nil)
	refuse(t, "GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n¦\r\n", ErrHostRepeated, nil)
	refuse(t, "GET http://h/ HTTP/1.1\r\nHost: a\r\nHost: h\r\n¦\r\n", ErrHostRepeated, nil)
}
