package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// message is a MSG line with its payload.
func message(body string) string {
	return fmt.Sprintf("MSG _INBOX.a.0 1 %d\r\n%s\r\n", len(body), body)
}

func TestNATSRepliesCutAnywhere(t *testing.T) {
	header := "NATS/1.0 503\r\n\r\n"
	text := message(`{"stream":"BENCH", "seq":1}`) +
		"PING\r\n+OK\r\n" +
		message(`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"BENCH","seq":0}`) +
		fmt.Sprintf("HMSG _INBOX.a.0 1 %d %d\r\n%s\r\n", len(header), len(header), header) +
		"INFO {\"server_id\":\"x\"}\r\n" +
		message(`{}`) +
		message(`{"error":{}}`)
	everySplit(t, &natsDialect{}, text, []string{"", "503", "no responders", "unexpected body", "unexpected body"})
}

func TestNATSPingIsAnswered(t *testing.T) {
	k, err := feed(t, &natsDialect{}, 0, "PING\r\n", "PONG\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(k.answers) != 2 || k.answers[0] != "PONG\r\n" || k.answers[1] != "" {
		t.Errorf("sent back %q, want one PONG", k.answers)
	}
}

func TestNATSBroken(t *testing.T) {
	for name, text := range map[string]string{
		"other protocol": "HTTP/1.1 200 OK\r\n",
		"no size":        "MSG _INBOX.a.0 1 \r\n",
		"word for size":  "MSG _INBOX.a.0 1 x\r\n",
		"no end":         "MSG _INBOX.a.0 1 2\r\nabXX",
	} {
		if _, err := feed(t, &natsDialect{}, 1, text); !errors.Is(err, errNotNATS) {
			t.Errorf("%s: error %v, want %v", name, err, errNotNATS)
		}
	}
	if _, err := feed(t, &natsDialect{}, 1, "-ERR 'Authorization Violation'\r\n"); err == nil || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("error %v, want the server's words", err)
	}
	if _, err := feed(t, &natsDialect{}, 1, "MSG a 1 999999999\r\n"); !errors.Is(err, errTooLarge) {
		t.Errorf("error %v, want %v", err, errTooLarge)
	}
}

// fakeNATS speaks enough of the protocol for one connection: it answers the
// greeting, and every publish with the ack that answer returns.
func fakeNATS(s net.Conn, answer func(subject string) string) {
	defer s.Close()
	fmt.Fprint(s, "INFO {\"max_payload\":1048576}\r\n")
	in := bufio.NewReader(s)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "PING":
			fmt.Fprint(s, "PONG\r\n")
		case words[0] == "PUB":
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			body := answer(words[1])
			fmt.Fprintf(s, "MSG %s 1 %d\r\n%s\r\n", words[2], len(body), body)
		}
	}
}

func TestNATSGreetAndStream(t *testing.T) {
	var subjects []string
	verdict := `{"type":"io.nats.jetstream.api.v1.stream_create_response"}`
	addr := serve(t, func(s net.Conn) {
		fakeNATS(s, func(subject string) string { subjects = append(subjects, subject); return verdict })
	})
	d, err := newNATSDialect(&config{workload: "produce", topic: "bench", size: 8})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.createStream(addr); err != nil {
		t.Fatal(err)
	}
	if len(subjects) != 1 || subjects[0] != "$JS.API.STREAM.CREATE.bench" {
		t.Errorf("published to %q", subjects)
	}
	verdict = `{"error":{"code":500,"description":"no"}}`
	if err := d.createStream(addr); err == nil {
		t.Error("a refused stream is no error")
	}
}

func TestNATSGreetRefused(t *testing.T) {
	addr := serve(t, func(s net.Conn) {
		fmt.Fprint(s, "INFO {}\r\n-ERR 'Authorization Violation'\r\n")
		_ = s.Close()
	})
	d, _ := newNATSDialect(&config{workload: "produce", topic: "bench", size: 8})
	if err := d.createStream(addr); err == nil {
		t.Error("a refused greeting is no error")
	}
	if _, err := newNATSDialect(&config{workload: "consume"}); err == nil {
		t.Error("a workload that is not there was taken")
	}
}

func FuzzNATSReply(f *testing.F) {
	f.Add([]byte(message(`{"stream":"BENCH","seq":1}`)))
	f.Add([]byte("PING\r\n"))
	f.Add([]byte("HMSG a 1 2 4\r\nabcd\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) { fuzzReply(t, &natsDialect{}, text) })
}

// serve accepts connections on loopback until the test ends.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			go handle(s)
		}
	}()
	return l.Addr().String()
}
