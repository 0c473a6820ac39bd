package api

import (
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Setting and deleting what a group has committed.
//
// Only while it has no members, as Kafka has it: a member would go on from where it thinks it is, and its next commit undo the
// reset. Consumers without membership are not known to the server, and are the caller's business.
//
// A group's offsets lie on the loops of their partitions, each of which writes its own batches. So the request goes from
// loop to loop: each adds its commands, and when they are durable the request is executed again at the next one. It is
// answered when all are durable; if it fails in between (a crash, a lost leader) some partitions are done and others are
// not, and doing it again does the rest. Joining is not held up meanwhile.

// tour is how far such a request has come.
type tour struct {
	checked bool // the group had no members
	next    int  // the loop whose turn it is
	found   bool // there was something to delete
	offsets map[uint32]uint64
	times   map[uint32]uint64 // by partition: the first offset of the time that is asked for
}

// deleteGroup forgets everything that a group has committed.
func deleteGroup(l *loop, x *exchange) (reply, error) {
	return l.travel(x, func(c *commitRoom) error {
		for _, t := range l.server.options.Engine.Topics() {
			for i := range t.Partitions() {
				p := t.Partition(i)
				if p.Shard() != l.index {
					continue
				}
				if err := c.remove(p, x.args.group); err != nil {
					return err
				}
				x.tour.found = x.tour.found || c.last != nil
			}
		}
		return nil
	}, func() (reply, error) {
		l.body = append(strconv.AppendBool(append(l.body[:0], `{"ok":true,"deleted":`...), x.tour.found), '}')
		return reply{status: 200, body: l.body}, nil
	})
}

// commitRoom finds room for commands, one batch after the other.
type commitRoom struct {
	loop *loop
	last *record.Batch // that a command went into, nil: none was needed
}

func (c *commitRoom) open() (*record.Batch, error) { return c.loop.openBatch(engine.NameBytesMax + 64) }

func (c *commitRoom) remove(p *engine.Partition, group []byte) error {
	if !p.HasGroup(group) {
		return nil
	}
	b, err := c.open()
	if err != nil {
		return err
	}
	c.loop.shard.DeleteGroup(b, p, group)
	c.last = b
	return nil
}

func (c *commitRoom) reset(p *engine.Partition, group []byte, offset uint64) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	if err := c.loop.shard.ResetOffset(b, p, group, offset); err != nil {
		return err
	}
	c.last = b
	return nil
}

// travel takes x from loop to loop, beginning with the one that knows the members. Each does what is its own, and end
// answers when all of it is durable.
func (l *loop) travel(x *exchange, do func(*commitRoom) error, end func() (reply, error)) (reply, error) {
	if !x.tour.checked {
		if l.index != engine.CatalogueShard {
			return l.forward(engine.CatalogueShard, x)
		}
		if b := l.shard.MembershipPending(x.args.group); b != nil {
			return l.after(b, x, nil)
		}
		if m := l.shard.Membership(x.args.group); m != nil {
			return reply{}, errGroupActive.with("the group has %d live members: have them leave first", len(m.Members()))
		}
		x.tour.checked = true
	}
	for x.tour.next < len(l.server.loops) {
		if x.tour.next != l.index {
			return l.forward(x.tour.next, x)
		}
		room := commitRoom{loop: l}
		if err := do(&room); err == errSearching {
			return reply{later: true}, nil
		} else if err != nil {
			return reply{}, err
		}
		x.tour.next++
		if room.last != nil {
			return l.after(room.last, x, nil)
		}
	}
	return end()
}

type resetRequest struct {
	Topic     *string         `json:"topic"`
	Partition *uint32         `json:"partition"`
	To        json.RawMessage `json:"to"`
}

var resetFields = fieldsOf(resetRequest{})

// target says where a group is to be set.
type target struct {
	at     start
	offset uint64
	timed  bool // to the first message whose time is at least timeMs, else the end
	timeMs uint64
}

// errSearching says that a request is executed again when the messages of a time have been found.
var errSearching = errors.New("messages of a time are searched")

// resetGroup sets what a group has committed in one partition, or all, of a topic.
func resetGroup(l *loop, x *exchange) (reply, error) {
	var q resetRequest
	if err := decodeCommand(x.body, &q, resetFields); err != nil {
		return reply{}, err
	}
	to, err := q.target()
	if err != nil {
		return reply{}, err
	}
	if q.Topic == nil {
		return reply{}, errMissingTopic
	}
	if err := checkTopic([]byte(*q.Topic), x.scope); err != nil {
		return reply{}, err
	}
	t := l.server.options.Engine.Topic([]byte(*q.Topic))
	if t == nil {
		return reply{}, errUnknownTopic.with("topic %q does not exist", *q.Topic)
	}
	if q.Partition != nil && *q.Partition >= t.Partitions() {
		return reply{}, errPartition.with("topic %q has %d partitions", *q.Topic, t.Partitions())
	}
	return l.travel(x, func(c *commitRoom) error {
		if to.timed && l.search(x, t, q.Partition, to.timeMs) {
			return errSearching
		}
		for i := range t.Partitions() {
			if p := t.Partition(i); p.Shard() == l.index && (q.Partition == nil || *q.Partition == i) {
				if err := l.resetPartition(c, x, p, to, q.Partition != nil); err != nil {
					return err
				}
			}
		}
		return nil
	}, func() (reply, error) { return l.resetDone(x, *q.Topic, t.Partitions()) })
}

// target reads where to.
func (q *resetRequest) target() (target, error) {
	var word string
	var at struct {
		Offset *uint64 `json:"offset"`
		TimeMs *uint64 `json:"ts_ms"`
	}
	bad := errBadJSON.with(`to is "earliest", "latest", {"offset":n} or {"ts_ms":t}`)
	switch {
	case len(q.To) == 0:
		return target{}, bad
	case q.To[0] == '"':
		if err := json.Unmarshal(q.To, &word); err != nil {
			return target{}, bad
		}
	case decodeJSON(q.To, &at, fieldsOf(at)) != nil || (at.Offset == nil) == (at.TimeMs == nil):
		return target{}, bad
	case at.Offset != nil && *at.Offset < 1<<63:
		return target{at: startOffset, offset: *at.Offset}, nil
	case at.TimeMs != nil && *at.TimeMs < 1<<63:
		return target{timed: true, timeMs: *at.TimeMs}, nil
	default:
		return target{}, bad
	}
	switch word {
	case "earliest":
		return target{at: startEarliest}, nil
	case "latest":
		return target{at: startLatest}, nil
	}
	return target{}, bad
}

// resetPartition sets one partition. Where several are set, each goes as near to the offset as it can.
func (l *loop) resetPartition(c *commitRoom, x *exchange, p *engine.Partition, to target, alone bool) error {
	offset := l.server.options.commitIn(to.offset)
	switch {
	case to.timed:
		offset = min(max(x.tour.times[p.Stream().Partition], p.Floor()), p.Next())
	case to.at == startEarliest:
		offset = p.Floor()
	case to.at == startLatest:
		offset = p.Next()
	case !alone:
		offset = min(max(offset, p.Floor()), p.Next())
	}
	err := c.reset(p, x.args.group, offset)
	switch {
	case errors.Is(err, engine.ErrOffsetAbove):
		return errAboveEnd.offsets(p.Floor(), p.Next())
	case errors.Is(err, engine.ErrOffsetBelow):
		return errBelowFloor.offsets(p.Floor(), p.Next())
	case errors.Is(err, engine.ErrGroupLimit):
		return errOverloaded.with("%v", err)
	case err != nil:
		return err
	}
	if x.tour.offsets == nil {
		x.tour.offsets = map[uint32]uint64{}
	}
	x.tour.offsets[p.Stream().Partition] = offset
	return nil
}

// search has a readers goroutine find the first messages of a time in this loop's partitions, one or all of t, unless they
// are known. True: x is executed again when they are.
func (l *loop) search(x *exchange, t *engine.Topic, only *uint32, timeMs uint64) bool {
	var spans []span
	for i := range t.Partitions() {
		p := t.Partition(i)
		if _, known := x.tour.times[i]; !known && p.Shard() == l.index && (only == nil || *only == i) {
			spans = append(spans, span{p.Stream(), p.Floor(), p.Next()})
		}
	}
	if len(spans) == 0 {
		return false
	}
	l.exclude(x.conn)
	c := x.cloned()
	job := func(r Reader) {
		found := map[uint32]uint64{}
		var err error
		for i := 0; i < len(spans) && err == nil; i++ {
			found[spans[i].stream.Partition], err = spans[i].find(r, timeMs)
		}
		l.net.Post(func() {
			if err != nil {
				l.finishError(c.conn, &c.meta, errDamaged.with("%v", err))
				return
			}
			if c.tour.times == nil {
				c.tour.times = map[uint32]uint64{}
			}
			maps.Copy(c.tour.times, found)
			l.resume(c)
		})
	}
	if !l.server.readers.add(job) {
		l.finishError(c.conn, &c.meta, errOverloaded)
	}
	return true
}

// span is what there is of a partition.
type span struct {
	stream      record.Stream
	offset, end uint64
}

// find returns the offset of the first message whose time is at least timeMs, the end if there is none.
func (s *span) find(r Reader, timeMs uint64) (offset uint64, err error) {
	offset = s.end
	var m record.Record
	_, err = r.ReadSince(s.stream, s.offset, s.end, timeMs, func(sec record.Section) bool {
		it := sec.Records()
		for at := sec.Base; it.Read(&m) && at < s.end; at++ {
			if at >= s.offset && m.TimeMs >= timeMs {
				offset = at
				return false
			}
		}
		return true
	})
	return offset, err
}

func (l *loop) resetDone(x *exchange, topic string, partitions uint32) (reply, error) {
	b := append(l.body[:0], `{"ok":true,"group":`...)
	b = jsonscan.AppendString(b, x.args.group)
	b = append(b, `,"topic":`...)
	b = jsonscan.AppendString(b, []byte(topic))
	b = append(b, `,"partitions":[`...)
	n := 0
	for i := range partitions {
		offset, ok := x.tour.offsets[i]
		if !ok {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = append(b, `{"partition":`...)
		b = strconv.AppendUint(b, uint64(i), 10)
		b = append(appendMember(b, "committed_offset", l.server.options.commitOut(offset)), '}')
	}
	l.body = append(b, ']', '}')
	return reply{status: 200, body: l.body}, nil
}
