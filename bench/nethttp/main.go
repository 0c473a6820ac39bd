// Command nethttp serves the consume page the usual way: net/http, structs with tags,
// encoding/json. It is what a sound Go service looks like that does not count every
// byte, and so the yardstick for what counting brings. suite drives both with the
// same load and compares.
//
// Stored records and the answer's elements are different types, as they are wherever
// storage does not know its face: for every page the records are turned into
// elements, values and keys into base64 strings, the page into JSON. What is not part
// of that is left out in its favour: records lie in memory, nothing is logged, no
// token is checked, and the answer is marshalled once and sent with its length
// instead of in chunks. The JSON is field for field the one that ayder sends. Topics
// are made and filled through the same two calls, so that both serve equal pages.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:1110", "host:port")
	flag.Parse()
	s := &http.Server{Addr: *listen, Handler: newBroker().handler(), ReadHeaderTimeout: 10 * time.Second}
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "nethttp:", err)
		os.Exit(1)
	}
}

// Limits of one request and of a page, as in the contract.
const (
	bodyBytesMax = 8 << 20
	pageDefault  = 100
	pageMax      = 1000
)

// record is a stored message.
type record struct {
	key, value []byte // key is nil without one
	tsMs       int64
}

// message is one element of a page.
type message struct {
	Offset    int     `json:"offset"`
	Partition int     `json:"partition"`
	ValueB64  string  `json:"value_b64"`
	KeyB64    *string `json:"key_b64"`
	TsMs      int64   `json:"ts_ms"`
}

// page is the answer of consume.
type page struct {
	Messages        []message `json:"messages"`
	Count           int       `json:"count"`
	NextOffset      int       `json:"next_offset"`
	CommittedOffset int       `json:"committed_offset"`
	Truncated       bool      `json:"truncated"`
}

// stream is a partition of a topic.
type stream struct {
	topic     string
	partition int
}

// broker holds records in memory. An element, once appended, never changes, so a
// reader may keep the slice it got under the lock.
type broker struct {
	mu      sync.RWMutex
	streams map[stream][]record
}

func newBroker() *broker { return &broker{streams: map[stream][]record{}} }

func (b *broker) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, map[string]bool{"ready": true}) })
	mux.HandleFunc("POST /broker/topics", func(w http.ResponseWriter, _ *http.Request) { answer(w, 201, map[string]bool{"ok": true}) })
	mux.HandleFunc("POST /broker/topics/{topic}/produce-ndjson", b.produce)
	mux.HandleFunc("GET /broker/consume/{topic}/{group}/{partition}", b.consume)
	return mux
}

// answer marshals v and sends it in one piece.
func answer(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client went away: nobody is left to be told
}

// produce appends the lines of the body.
func (b *broker) produce(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	partition, err := number(r.URL.Query().Get("partition"), 0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	first := b.append(stream{r.PathValue("topic"), partition}, lines)
	answer(w, 200, map[string]any{"ok": true, "first_offset": first, "count": len(lines), "synced": true})
}

// append returns the offset of the first message.
func (b *broker) append(s stream, values [][]byte) int {
	now := time.Now().UnixMilli()
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.streams[s]
	first := len(list)
	for _, value := range values {
		list = append(list, record{value: bytes.Clone(value), tsMs: now})
	}
	b.streams[s] = list
	return first
}

// consume answers a page.
func (b *broker) consume(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	partition, err1 := number(r.PathValue("partition"), 0)
	offset, err2 := number(query.Get("offset"), 0)
	limit, err3 := number(query.Get("limit"), pageDefault)
	if err := errors.Join(err1, err2, err3); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.RLock()
	list := b.streams[stream{r.PathValue("topic"), partition}]
	b.mu.RUnlock()
	answer(w, 200, newPage(list, partition, offset, min(limit, pageMax)))
}

// newPage turns a run of records into an answer.
func newPage(list []record, partition, offset, limit int) page {
	first := min(offset, len(list))
	next := min(first+limit, len(list))
	messages := make([]message, 0, next-first)
	for i, r := range list[first:next] {
		messages = append(messages, newMessage(r, partition, first+i))
	}
	return page{Messages: messages, Count: len(messages), NextOffset: next, Truncated: next < len(list)}
}

func newMessage(r record, partition, offset int) message {
	m := message{Offset: offset, Partition: partition, ValueB64: base64.StdEncoding.EncodeToString(r.value), TsMs: r.tsMs}
	if r.key != nil {
		key := base64.StdEncoding.EncodeToString(r.key)
		m.KeyB64 = &key
	}
	return m
}

// number reads a count; an empty text is the default.
func number(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err == nil && n < 0 {
		return 0, fmt.Errorf("%d is negative", n)
	}
	return n, err
}
