package proc

import (
	"fmt"
	"strconv"
)

// The few calls that every test of the broker makes. Anything but success is an error here that
// shows the answer; a test that expects a refusal uses Do. The types hold what the contract
// promises of an answer and ignore the rest.

// Append is the answer to a produce, of one message or of many.
type Append struct {
	OK        bool   `json:"ok"`
	Offset    uint64 `json:"offset"`
	First     uint64 `json:"first_offset"`
	Count     int    `json:"count"`
	Partition int    `json:"partition"`
	BatchID   uint64 `json:"batch_id"`
	Sealed    bool   `json:"sealed"`
	Durable   bool   `json:"durable"`
	Mode      string `json:"mode"`
	Synced    *bool  `json:"synced"` // null in the answer to a duplicate
	Duplicate bool   `json:"duplicate"`
}

// Message is one message of a page.
type Message struct {
	Offset    uint64            `json:"offset"`
	Partition int               `json:"partition"`
	Value     *string           `json:"value"`
	ValueB64  []byte            `json:"value_b64"`
	KeyB64    []byte            `json:"key_b64"`
	TimeMs    uint64            `json:"ts_ms"`
	Headers   map[string]string `json:"headers"`
}

// Page is the answer to a consume.
type Page struct {
	Messages  []Message `json:"messages"`
	Count     int       `json:"count"`
	Next      uint64    `json:"next_offset"`
	Committed uint64    `json:"committed_offset"`
	Truncated bool      `json:"truncated"`
}

// Produce appends body to a partition of topic.
func (c *Client) Produce(topic string, partition int, body []byte) (a Append, err error) {
	err = c.call(fmt.Sprintf("/broker/topics/%s/produce?partition=%d", topic, partition), body, &a)
	return a, err
}

// ProduceLines appends every line of body to a partition of topic.
func (c *Client) ProduceLines(topic string, partition int, body []byte) (a Append, err error) {
	err = c.call(fmt.Sprintf("/broker/topics/%s/produce-ndjson?partition=%d", topic, partition), body, &a)
	return a, err
}

// CreateTopic makes a topic; one that exists with the same settings is fine.
func (c *Client) CreateTopic(topic string, partitions int) error {
	var a struct{}
	return c.call("/broker/topics", fmt.Appendf(nil, `{"name":%q,"partitions":%d}`, topic, partitions), &a)
}

// Commit stores a group's offset.
func (c *Client) Commit(topic, group string, partition int, offset uint64) error {
	var a struct{}
	body := fmt.Appendf(nil, `{"topic":%q,"group":%q,"partition":%d,"offset":%d}`, topic, group, partition, offset)
	return c.call("/broker/commit", body, &a)
}

func (c *Client) call(target string, body []byte, v any) error {
	r, err := c.Post(target, body)
	if err != nil {
		return err
	}
	if r.Status/100 != 2 {
		return fmt.Errorf("POST %.200s: %s", target, r.String())
	}
	return r.JSON(v)
}

// Consume reads the page that starts at offset. more is appended to the query, "&limit=10".
func (c *Client) Consume(topic string, partition int, offset uint64, more string) (p Page, err error) {
	target := "/broker/consume/" + topic + "/test/" + strconv.Itoa(partition) +
		"?encoding=b64&offset=" + strconv.FormatUint(offset, 10) + more
	r, err := c.Get(target)
	if err != nil {
		return p, err
	}
	if r.Status != 200 {
		return p, fmt.Errorf("GET %s: %s", target, r.String())
	}
	return p, r.JSON(&p)
}

// Each reads a partition from an offset to its end, in pages as large as allowed, and calls visit with
// every message. It returns the partition's end. An error of visit ends it.
func (c *Client) Each(topic string, partition int, from uint64, visit func(*Message) error) (end uint64, err error) {
	for end = from; ; {
		p, err := c.Consume(topic, partition, end, "&limit=1000")
		if err != nil {
			return end, err
		}
		for i := range p.Messages {
			if err := visit(&p.Messages[i]); err != nil {
				return end, err
			}
		}
		if p.Next < end || p.Truncated && p.Next == end {
			return end, fmt.Errorf("the page at offset %d ends at %d although more is there", end, p.Next)
		}
		end = p.Next
		if !p.Truncated {
			return end, nil
		}
	}
}
