package cli

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// Producing. Three ways in:
//
//	lines          each line a message; many go in one request (produce-ndjson with envelopes), all or none of them
//	--key-separator  the same with a key in front; a key decides the partition, so each message is a request of its own
//	--whole        each file is one message
//
// Every request has an idempotency key, made of a prefix that is random for each run and the request's number, so trying
// again never appends twice. (A topic that is in memory only takes no such key; there what may have happened is not tried again.) With a prefix of the user's own a whole run can be repeated: then batches are always filled,
// because the same lines must get into the same batch.

var produceCommands = []command{
	{name: "produce", args: "TOPIC [FILE…]", count: [2]int{1, -1}, help: "Append messages: the lines of the files, or of standard input", build: produce},
}

// producer is one run of produce.
type producer struct {
	s         *session
	p         *progress
	topic     string
	query     url.Values
	header    map[string]string
	json      bool
	separator string
	batch     int
	prefix    string
	full      bool        // batches wait until they are full
	rocket    atomic.Bool // the topic takes no idempotency keys; several workers find out
	print     sync.Mutex  // one answer at a time
}

func produce(f *pflag.FlagSet) func(*session, []string) error {
	var p producer
	partition := f.Uint32("partition", 0, "append to this partition")
	key := f.String("key", "", "the key of every message")
	headers := f.StringArray("header", nil, "NAME=VALUE, a header of every message; may be repeated")
	concern := f.String("concern", "", "async, sync-majority or sync-all")
	whole := f.Bool("whole", false, "each file, or all of standard input, is one message")
	f.BoolVar(&p.json, "json", false, "every line must be JSON")
	f.StringVar(&p.separator, "key-separator", "", "what is in front of this in a line is the message's key")
	f.IntVar(&p.batch, "batch", batchLines, "lines of one request at most")
	f.StringVar(&p.prefix, "idempotency-prefix", "", "repeating a run with the same prefix and input appends nothing twice")
	return func(s *session, args []string) error {
		p.s, p.p, p.topic, p.query = s, s.progress("appended", true), args[0], url.Values{}
		if f.Changed("partition") {
			p.query.Set("partition", strconv.FormatUint(uint64(*partition), 10))
		}
		if f.Changed("key") {
			p.query.Set("key", *key)
		}
		if *concern != "" {
			p.query.Set("concern", *concern)
		}
		if err := p.prepare(*headers); err != nil {
			return err
		}
		defer p.p.end()
		if *whole {
			return p.whole(args[1:])
		}
		return p.lines(args[1:])
	}
}

// prepare checks and completes the settings.
func (p *producer) prepare(headers []string) error {
	p.header = map[string]string{"Content-Type": "application/octet-stream"}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return usagef("--header %q is not NAME=VALUE", h)
		}
		p.header["X-Ayder-H-"+name] = value
	}
	if p.batch < 1 {
		return usagef("--batch must be at least 1")
	}
	if len(p.separator) > 0 && (p.json || p.query.Has("key")) {
		return usagef("--key-separator excludes --json and --key")
	}
	if p.full = p.prefix != ""; !p.full {
		random := make([]byte, 12)
		rand.Read(random)
		p.prefix = hex.EncodeToString(random)
	}
	return nil
}

// inputs calls use with every file, or with standard input where there is none.
func (p *producer) inputs(files []string, use func(name string, r io.Reader) error) error {
	if len(files) == 0 {
		return use("-", p.s.In)
	}
	for _, name := range files {
		if name == "-" {
			if err := use(name, p.s.In); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		err = use(name, file)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// whole sends every input as one message.
func (p *producer) whole(files []string) error {
	n := 0
	return p.inputs(files, func(name string, r io.Reader) error {
		body, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		n++
		return p.one(body, n, nil)
	})
}

// lines sends the inputs line by line.
func (p *producer) lines(files []string) error {
	source := newLineSource(p.s.ctx)
	defer source.stop()
	go source.read(func(use func(string, io.Reader) error) error { return p.inputs(files, use) })
	if p.separator != "" {
		return p.keyed(source)
	}
	for n := 1; ; n++ {
		lines, first := source.batch(p.batch, p.full)
		if len(lines) == 0 {
			return source.err()
		}
		if err := p.send(lines, n); err != nil {
			return fmt.Errorf("from line %d of the input: %w", first, err)
		}
	}
}

// send appends lines in one request.
func (p *producer) send(lines [][]byte, n int) error {
	var body []byte
	size := 0
	for _, line := range lines {
		size += len(line)
		if p.json {
			body = append(body, line...)
		} else {
			body = appendEnvelope(body, line)
		}
		body = append(body, '\n')
	}
	more := url.Values{}
	if !p.json {
		more.Set("envelope", "1")
	}
	if err := p.request("/produce-ndjson", n, body, more); err != nil {
		return err
	}
	p.p.add(len(lines), size)
	return nil
}

// request makes the n-th request of the run, and prints the answer if the user wants them.
func (p *producer) request(action string, n int, body []byte, more url.Values) error {
	maps.Copy(more, p.query)
	q := call{method: http.MethodPost, path: "/broker/topics/" + segment(p.topic) + action, query: more, body: body, header: p.header}
	answer, err := p.once(q, n)
	if err != nil || !p.s.json {
		return err
	}
	p.print.Lock()
	defer p.print.Unlock()
	return p.s.printJSON(answer)
}

// once sends q with an idempotency key, or, to a topic that is in memory only and takes none, without.
func (p *producer) once(q call, n int) (answer []byte, err error) {
	if !p.rocket.Load() {
		q.query.Set("idempotency_key", p.prefix+"-"+strconv.Itoa(n))
		q.repeat = true
		answer, _, err = p.s.client.do(p.s.ctx, q)
		var refused *answerError
		if p.full || !errors.As(err, &refused) || refused.Code != "needs_sealed" {
			return answer, err
		}
		p.rocket.Store(true)
		q.query.Del("idempotency_key")
		q.repeat = false
	}
	answer, _, err = p.s.client.do(p.s.ctx, q)
	return answer, err
}

// appendEnvelope wraps any bytes as a line of produce-ndjson with envelope=1.
func appendEnvelope(b, value []byte) []byte {
	if utf8.Valid(value) {
		text, err := json.Marshal(string(value))
		if err == nil {
			return append(append(append(b, `{"value":`...), text...), '}')
		}
	}
	b = append(b, `{"value_b64":"`...)
	b = base64.StdEncoding.AppendEncode(b, value)
	return append(b, `"}`...)
}

// one appends one message.
func (p *producer) one(body []byte, n int, key []byte) error {
	more := url.Values{}
	if key != nil {
		more.Set("key", string(key))
	}
	if err := p.request("/produce", n, body, more); err != nil {
		return err
	}
	p.p.add(1, len(body))
	return nil
}

// keyed sends lines with keys. Several are under way, but those with the same key one after the other.
func (p *producer) keyed(source *lineSource) error {
	var workers sync.WaitGroup
	var once sync.Once
	var failure error
	lanes := make([]chan keyedLine, keyWorkers)
	failed := make(chan struct{})
	for i := range lanes {
		lanes[i] = make(chan keyedLine)
		workers.Go(func() {
			for m := range lanes[i] {
				if err := p.one(m.value, m.number, m.key); err != nil {
					once.Do(func() { failure = fmt.Errorf("line %d of the input: %w", m.number, err); close(failed) })
				}
			}
		})
	}
	err := p.deal(source, lanes, failed)
	for _, lane := range lanes {
		close(lane)
	}
	workers.Wait()
	if failure != nil {
		return failure
	}
	return err
}

type keyedLine struct {
	number     int
	key, value []byte
}

// deal gives every line to the lane of its key, until one has failed.
func (p *producer) deal(source *lineSource, lanes []chan keyedLine, failed chan struct{}) error {
	for {
		lines, first := source.batch(p.batch, false)
		if len(lines) == 0 {
			return source.err()
		}
		for i, line := range lines {
			key, value, ok := strings.Cut(string(line), p.separator)
			if !ok {
				return fmt.Errorf("line %d of the input has no %q", first+i, p.separator)
			}
			h := fnv.New32a()
			h.Write([]byte(key))
			select {
			case lanes[h.Sum32()%uint32(len(lanes))] <- keyedLine{first + i, []byte(key), []byte(value)}:
			case <-failed:
				return nil
			}
		}
	}
}
