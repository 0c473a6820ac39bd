package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"ayder/bench/result"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The producing side, and the long-polls, over plain connections with requests written as text: the client must not be what
// is measured. Messages of the fan-out go out when they are due, whatever the server does; their answers are read beside
// that. The wake-ups are a closed loop of one message at a time.

// client is one connection that sends requests as text.
type client struct {
	conn   net.Conn
	r      *bufio.Reader
	header string
}

func (c *config) dial() (*client, error) {
	conn, err := net.DialTimeout("tcp", c.addr, answerWait)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReader(conn), "Host: " + c.addr + "\r\nAuthorization: Bearer " + c.token + "\r\n"}, nil
}

// answer reads the next answer, which must be a success.
func (k *client) answer(method string) ([]byte, error) {
	_ = k.conn.SetReadDeadline(time.Now().Add(answerWait))
	resp, err := http.ReadResponse(k.r, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

func (k *client) post(target string, body []byte) error {
	_, err := fmt.Fprintf(k.conn, "POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", target, k.header, len(body), body)
	return err
}

func (k *client) get(target string) error {
	_, err := fmt.Fprintf(k.conn, "GET %s HTTP/1.1\r\n%s\r\n", target, k.header)
	return err
}

// newTopic makes a topic with one partition that no earlier run has used.
func (c *config) newTopic() (name string, err error) {
	k, err := c.dial()
	if err != nil {
		return "", err
	}
	defer k.conn.Close()
	name = fmt.Sprintf("live-%d", time.Now().UnixNano())
	if err = k.post("/broker/topics", fmt.Appendf(nil, `{"name":%q,"partitions":1}`, name)); err == nil {
		_, err = k.answer("POST")
	}
	return name, err
}

// stamp writes the time since zero in front of value.
func stamp(value []byte, d time.Duration) {
	n := uint64(d)
	for i := stampBytes - 1; i >= 0; i-- {
		value[i] = byte('0' + n%10)
		n /= 10
	}
}

// produceAt sends count messages, each when it is due, and reads the answers beside that; acked is from due to answered.
func (c *config) produceAt(topic string, zero time.Time, count int, acked *hdrhistogram.Histogram) error {
	k, err := c.dial()
	if err != nil {
		return err
	}
	defer k.conn.Close()
	begun := time.Since(zero)
	dueAt := func(i int) time.Duration { return begun + time.Duration(i)*time.Second/time.Duration(c.rate) }
	answers := make(chan error, 1)
	go func() {
		for i := range count {
			if _, err := k.answer("POST"); err != nil {
				answers <- err
				return
			}
			record(acked, time.Since(zero)-dueAt(i))
		}
		answers <- nil
	}()
	value := bytes.Repeat([]byte{'x'}, c.size)
	for i := range count {
		due := dueAt(i)
		time.Sleep(due - time.Since(zero))
		stamp(value, due)
		if err := k.post("/broker/topics/"+topic+"/produce?partition=0", value); err != nil {
			return err
		}
	}
	return <-answers
}

// wakeUps measures long-polls, each woken by one message.
func wakeUps(c *config, got figures) error {
	topic, err := c.newTopic()
	if err != nil {
		return err
	}
	producer, err := c.dial()
	if err != nil {
		return err
	}
	defer producer.conn.Close()
	consumer, err := c.dial()
	if err != nil {
		return err
	}
	defer consumer.conn.Close()
	produced, woken := newHistogram(), newHistogram()
	value := []byte(strings.Repeat("x", c.size))
	for i := range c.wakes {
		if err := consumer.get(fmt.Sprintf("/broker/consume/%s/live/0?wait_ms=30000&offset=%d", topic, i)); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond) // until it waits
		began := time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := producer.answer("POST")
			record(produced, time.Since(began))
			done <- err
		}()
		if err := producer.post("/broker/topics/"+topic+"/produce?partition=0", value); err != nil {
			return err
		}
		page, err := consumer.answer("GET")
		record(woken, time.Since(began))
		if err == nil {
			err = <-done
		}
		if err == nil {
			err = onePage(page, i)
		}
		if err != nil {
			return err
		}
	}
	got["produce"], got["wake-up"] = result.Of(produced), result.Of(woken)
	return nil
}

// onePage wants a page with the one message at offset.
func onePage(page []byte, offset int) error {
	var p struct {
		Count int `json:"count"`
		Next  int `json:"next_offset"`
	}
	if err := json.Unmarshal(page, &p); err != nil {
		return err
	}
	if p.Count != 1 || p.Next != offset+1 {
		return fmt.Errorf("a wait for offset %d was answered %s", offset, page)
	}
	return nil
}
