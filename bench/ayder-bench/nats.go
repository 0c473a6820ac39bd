package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// The NATS dialect publishes to a JetStream stream and waits for the PubAck. A
// publish carries a reply subject; the server answers there once the message is
// stored, which with `sync_interval: always` means synced. Each connection has an
// inbox of its own, and one connection's acks come in the order of its publishes,
// so the oldest outstanding request is the one that is answered.
//
//	PUB bench _INBOX.ab12.7 64\r\n…\r\n
//	MSG _INBOX.ab12.7 1 30\r\n{"stream":"BENCH", "seq":1}\r\n
//
// The official client would do the same with a goroutine and a channel per
// message; measured against it, this loop is the cheaper and so the kinder one.

// natsDialect implements dialect for nats-server.
type natsDialect struct {
	stream, subject string
	prefix          string // of all inboxes; differs from run to run
	replicas        int
	payload         []byte
	publish         map[int][]byte // by connection, filled by greet
}

// newNATSDialect prepares the publish.
func newNATSDialect(c *config) (*natsDialect, error) {
	if c.workload != "produce" {
		return nil, fmt.Errorf("workload %q: the nats target has produce (JetStream publish)", c.workload)
	}
	return &natsDialect{
		stream: c.topic, subject: c.topic, replicas: max(len(c.nodes), 1),
		prefix:  "_INBOX." + strconv.FormatInt(time.Now().UnixNano(), 36),
		payload: payload(c.size), publish: map[int][]byte{},
	}, nil
}

func (d *natsDialect) operations() []operation { return []operation{{"publish", 1}} }

// inbox is the subject that a connection's answers come to.
func (d *natsDialect) inbox(connection int) string {
	return d.prefix + "." + strconv.Itoa(connection)
}

// natsConnect asks for protocol 0: from 1 on the server may send INFO at any time,
// also right behind the PONG that greet waits for.
const natsConnect = `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,` +
	`"name":"ayder-bench","lang":"go","version":"1","protocol":0,"headers":true,"no_responders":true}` + "\r\n"

// greet connects, subscribes to the inbox, and waits for the PONG which says that
// both were taken.
func (d *natsDialect) greet(s io.ReadWriter, connection int) error {
	inbox := d.inbox(connection)
	if _, err := fmt.Fprintf(s, "%sSUB %s 1\r\nPING\r\n", natsConnect, inbox); err != nil {
		return fmt.Errorf("greet nats: %w", err)
	}
	if _, err := readUntil(s, "PONG\r\n"); err != nil {
		return fmt.Errorf("greet nats: %w", err)
	}
	d.publish[connection] = natsPublish(d.subject, inbox, d.payload)
	return nil
}

func natsPublish(subject, inbox string, payload []byte) []byte {
	return fmt.Appendf(nil, "PUB %s %s %d\r\n%s\r\n", subject, inbox, len(payload), payload)
}

// readUntil reads until the input ends with one of texts.
func readUntil(s io.Reader, texts ...string) ([]byte, error) {
	var got []byte
	chunk := make([]byte, 4096)
	for !slices.ContainsFunc(texts, func(text string) bool { return bytes.HasSuffix(got, []byte(text)) }) {
		n, err := s.Read(chunk)
		got = append(got, chunk[:n]...)
		switch {
		case bytes.HasPrefix(got, []byte("-ERR")) || bytes.Contains(got, []byte("\n-ERR")):
			return got, fmt.Errorf("server says %q", got)
		case err != nil:
			return got, fmt.Errorf("waiting for %q: %w", texts, err)
		case len(got) > recvBytes:
			return got, errTooLarge
		}
	}
	return got, nil
}

func (d *natsDialect) request(dst []byte, connection int) ([]byte, int) {
	return append(dst, d.publish[connection]...), 0
}

var natsPong = []byte("PONG\r\n")

// reply reads one protocol line, with the payload that MSG and HMSG announce.
func (d *natsDialect) reply(buf []byte, _ int) (reply, error) {
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		return reply{}, nil
	}
	line, used := bytes.TrimSuffix(buf[:end], []byte("\r")), end+1
	switch {
	case bytes.HasPrefix(line, []byte("MSG ")), bytes.HasPrefix(line, []byte("HMSG ")):
		return natsMessage(buf, line, used)
	case bytes.HasPrefix(line, []byte("PING")):
		return reply{used: used, aside: true, answer: natsPong}, nil
	case bytes.HasPrefix(line, []byte("-ERR")):
		return reply{}, fmt.Errorf("nats says %q", line)
	case bytes.HasPrefix(line, []byte("+OK")), bytes.HasPrefix(line, []byte("PONG")), bytes.HasPrefix(line, []byte("INFO")):
		return reply{used: used, aside: true}, nil
	default:
		return reply{}, errNotNATS
	}
}

// natsMessage finishes a message whose line takes the first used bytes; its last
// word is the size of all that follows.
func natsMessage(buf, line []byte, used int) (reply, error) {
	size, ok := decimal(line[bytes.LastIndexByte(line, ' ')+1:])
	if !ok {
		return reply{}, errNotNATS
	}
	total := used + size + 2
	switch {
	case total > replyBytesMax:
		return reply{}, errTooLarge
	case total > len(buf):
		return reply{need: total}, nil
	case buf[total-2] != '\r' || buf[total-1] != '\n':
		return reply{}, errNotNATS
	}
	return reply{used: total, failure: pubAckFailure(buf[used : used+size])}, nil
}

// pubAckFailure is empty for {"stream":…,"seq":…}. An HMSG without a body is the
// server's own 503: no stream listens to the subject.
func pubAckFailure(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("NATS/1.0 503")):
		return "no responders"
	case bytes.Contains(body, []byte(`"error":`)):
		return errorCode(body)
	case !bytes.Contains(body, []byte(`"seq":`)):
		return "unexpected body"
	default:
		return ""
	}
}

// errorCode finds "code":NNN in {"error":{"code":503,…}}.
func errorCode(body []byte) string {
	_, after, ok := bytes.Cut(body, []byte(`"code":`))
	after = bytes.TrimLeft(after, " ")
	if code, good := decimal(after[:min(3, len(after))]); ok && good {
		return statusName(code)
	}
	return "unexpected body"
}

// createStream makes the stream over the JetStream API, with a replica on every node. Making the same one again is not
// an error there.
func (d *natsDialect) createStream(addr string) error {
	settings := fmt.Sprintf(`{"name":%q,"subjects":[%q],"storage":"file","retention":"limits","num_replicas":%d}`, d.stream, d.subject, d.replicas)
	if _, err := d.ask(addr, "$JS.API.STREAM.CREATE."+d.stream, []byte(settings)); err != nil {
		return fmt.Errorf("create stream: %w", err)
	}
	return nil
}
