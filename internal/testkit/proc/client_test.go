package proc

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
)

// scripted is a client whose server sends text and closes, whatever it is asked.
func scripted(t *testing.T, text string) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if _, err := io.WriteString(peer, text); err != nil {
		t.Fatal(err)
	}
	if err := peer.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReceive(t *testing.T) {
	for what, c := range map[string]struct {
		text, method, body string
		status             int
	}{
		"a length":            {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET", "hello", 200},
		"no body to HEAD":     {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", "", 200},
		"no body with 204":    {"HTTP/1.1 204 No Content\r\n\r\n", "GET", "", 204},
		"chunks":              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "GET", "hello", 200},
		"until the end":       {"HTTP/1.0 404 Not Found\r\n\r\nhello", "GET", "hello", 404},
		"after an interim":    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 X\r\ncontent-length: 0\r\n\r\n", "POST", "", 413},
		"without a reason":    {"HTTP/1.1 200 \r\nContent-Length:0\r\n\r\n", "GET", "", 200},
		"a protocol upgraded": {"HTTP/1.1 101 Switching\r\nContent-Length: 0\r\n\r\n", "GET", "", 101},
	} {
		r, err := scripted(t, c.text).Do(c.method, "/", nil)
		if err != nil || r.Status != c.status || string(r.Body) != c.body {
			t.Errorf("%s: %d %q, %v", what, r.Status, r.Body, err)
		}
	}
}

func TestReceiveRefusesWhatIsNotAnAnswer(t *testing.T) {
	for text, want := range map[string]error{
		"":             io.EOF,
		"HTTP/1.1 200": io.ErrUnexpectedEOF,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n":                         io.ErrUnexpectedEOF,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell":                 io.ErrUnexpectedEOF,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel":    io.ErrUnexpectedEOF,
		"HTTP/1.1 200 OK\nContent-Length: 0\n\n":                           errAnswer,
		"hello\r\n\r\n":                                                    errAnswer,
		"HTTP/2 200 OK\r\n\r\n":                                            errAnswer,
		"HTTP/1.1 2000 OK\r\n\r\n":                                         errAnswer,
		"HTTP/1.1 200 OK\r\nbroken\r\n\r\n":                                errAnswer,
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n":                    errAnswer,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n":     errAnswer,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n": errAnswer,
		"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n":            errLarge,
	} {
		if r, err := scripted(t, text).Get("/"); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %v", text, r, err, want)
		}
	}
}

func TestReceiveTakesPipelinedAnswersInOrder(t *testing.T) {
	c := scripted(t, strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 100))
	for i := range 100 {
		if r, err := c.Receive("GET"); err != nil || string(r.Body) != "x" {
			t.Fatalf("answer %d: %+v, %v", i, r, err)
		}
	}
	if _, err := c.Receive("GET"); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

func TestAppendRequest(t *testing.T) {
	c := &Client{Header: "Host: h\r\n"}
	for want, got := range map[string][]byte{
		"GET /a HTTP/1.1\r\nHost: h\r\n\r\n":                         c.AppendRequest(nil, "GET", "/a", nil),
		"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n":   c.AppendRequest(nil, "POST", "/a", nil),
		"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi": c.AppendRequest(nil, "POST", "/a", []byte("hi")),
	} {
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestErrorCode(t *testing.T) {
	r := Response{Status: 404, Body: []byte(`{"ok":false,"error":"unknown_topic"}`)}
	if r.ErrorCode() != "unknown_topic" || !strings.Contains(r.String(), "404") {
		t.Errorf("%q in %s", r.ErrorCode(), r.String())
	}
	r.Body = []byte("<html>")
	if r.ErrorCode() != "" || r.JSON(&struct{}{}) == nil {
		t.Error("an answer that is not JSON has an error code")
	}
}

// Each must not run for ever against a server that always says there is more.
func TestEachNoticesAPageThatDoesNotAdvance(t *testing.T) {
	page := `{"messages":[],"count":0,"next_offset":0,"committed_offset":0,"truncated":true}`
	c := scripted(t, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(page))+"\r\n\r\n"+page)
	if _, err := c.Each("t", 0, 0, func(*Message) error { return nil }); err == nil || errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestEachFollowsPagesAndStopsAtTheVisitorsError(t *testing.T) {
	page := func(offset, next int, truncated string) string {
		b := `{"messages":[{"offset":` + strconv.Itoa(offset) + `,"partition":0,"value_b64":"aGk="}],"count":1,"next_offset":` + strconv.Itoa(next) +
			`,"committed_offset":0,"truncated":` + truncated + `}`
		return "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(b)) + "\r\n\r\n" + b
	}
	var seen []uint64
	end, err := scripted(t, page(0, 1, "true")+page(1, 2, "false")).Each("t", 0, 0, func(m *Message) error {
		seen = append(seen, m.Offset)
		return nil
	})
	if err != nil || end != 2 || len(seen) != 2 || seen[1] != 1 {
		t.Errorf("offsets %v up to %d, %v", seen, end, err)
	}
	stop := errors.New("enough")
	if _, err := scripted(t, page(0, 1, "true")).Each("t", 0, 0, func(*Message) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
