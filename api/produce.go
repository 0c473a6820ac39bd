package api

import (
	"bytes"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/record"
)

// Producing: choosing the partition, getting a batch, handing the message to the shard, parking the answer.
//
// Partition by partition=, else by the key's hash, else by turns. What cannot go on here goes elsewhere: to
// the loop that owns the partition, or through the creation of the topic and back.

// produce appends the request's body as one message.
func produce(l *loop, x *exchange) (reply, error) {
	p, c, r, err := l.target(x, 1, 0)
	if p == nil {
		return r, err
	}
	m := &l.message
	*m = record.Record{TimeMs: l.eventTime(x, c), Value: x.body}
	m.HasKey, m.Key = x.args.has(pKey), x.args.key
	m.HasIdem, m.Idem = x.args.has(pIdem), x.args.idem
	if m.Headers, err = l.messageHeaders(x.req); err != nil {
		return reply{}, err
	}
	if c == nil {
		got, err := l.shard.ProduceRocket(p, m, expected(&x.args), wallMs())
		if err != nil {
			return reply{}, produceError(err, p)
		}
		return l.launched(x, p, got, owedProduce), nil
	}
	got, err := l.shard.Produce(c.batch, p, m, expected(&x.args))
	if err != nil {
		return reply{}, produceError(err, p)
	}
	return l.appended(x, p, c, got, owedProduce)
}

// target finds the partition that a produce of count messages goes to and a batch that it may be encoded in; a rocket topic has
// none. A nil partition means that reply and error are the handler's result. extra is what encoding adds to
// the body beyond one record.
func (l *loop) target(x *exchange, count, extra int) (*engine.Partition, *commit, reply, error) {
	t := l.server.options.Engine.Topic(x.args.topic)
	if t == nil {
		r, err := l.autoCreate(x)
		return nil, nil, r, err
	}
	n, err := l.choosePartition(x, t)
	if err != nil {
		return nil, nil, reply{}, err
	}
	p := t.Partition(n)
	if owner := l.server.options.Engine.ShardOf(p.Stream()); owner != l.index {
		x.pinned, x.pin = true, n
		r, err := l.forward(owner, x)
		return nil, nil, r, err
	}
	if p.Rocket() {
		if err := checkRocket(&x.args); err != nil {
			return nil, nil, reply{}, err
		}
		if !p.RocketReady(count) {
			r, err := l.takeRange(x, p)
			return nil, nil, r, err
		}
		return p, nil, reply{}, nil
	}
	c, err := l.batch(len(x.body) + len(x.head) + extra)
	if err != nil {
		x.pinned, x.pin = true, n
		return nil, nil, reply{}, err
	}
	return p, c, reply{}, nil
}

// choosePartition takes the one asked for, else the one that the key hashes to, else takes turns.
// All keyless messages of one batch go to one partition: spreading within a batch would only make
// its sections, its index and every consumer's page smaller.
func (l *loop) choosePartition(x *exchange, t *engine.Topic) (uint32, error) {
	n := t.Partitions()
	switch {
	case x.pinned:
		return x.pin, nil
	case x.args.has(pPartition):
		if x.args.partition >= n {
			return 0, errPartition.with("topic %q has %d partitions", x.args.topic, n)
		}
		return x.args.partition, nil
	case x.args.has(pKey):
		return hashKey(x.args.key) % n, nil
	}
	if x.args.spread != nil {
		return hashKey(x.args.spread) % n, nil
	}
	return l.turn(n), nil
}

// turn is the partition whose turn it is, of n: the batch being filled decides. A loop starts
// where its own number says, so that several loops do not all begin with partition 0.
func (l *loop) turn(n uint32) uint32 {
	if l.open == nil || l.open.batch.Empty() {
		l.turns++
	}
	return (l.turns - 1 + uint32(l.index)) % n
}

// hashKey is FNV-1a over the key, mixed once more because it is used modulo small numbers.
func hashKey(key []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	h ^= h >> 16
	return h * 0x85ebca6b >> 8
}

func expected(a *args) engine.ProduceOptions {
	return engine.ProduceOptions{ExpectedOffset: a.expected, HasExpected: a.has(pExpected)}
}

// eventTime is the message's own time, else that of its batch.
func (l *loop) eventTime(x *exchange, c *commit) uint64 {
	switch {
	case x.args.has(pTime):
		return x.args.timeMs
	case c == nil:
		return wallMs()
	}
	return c.batch.TimeMs
}

// messageHeaders encodes the request's X-Ayder-H- fields as record headers.
func (l *loop) messageHeaders(req *httpparse.Request) ([]byte, error) {
	l.headers = l.headers[:0]
	n := 0
	for i := range req.Fields {
		f := &req.Fields[i]
		if len(f.Name) <= len(headerPrefix) || !httpparse.HasPrefixFold(f.Name, headerPrefix) {
			continue
		}
		name := f.Name[len(headerPrefix):]
		if n++; n > headersMax || len(name) > record.HeaderNameMax {
			return nil, errBadHeader
		}
		if n > 1 && hasHeader(l.headers, name) {
			return nil, errBadHeader.with("the message header %q occurs twice", name)
		}
		l.headers = record.AppendHeader(l.headers, name, f.Value)
	}
	return l.headers, nil
}

// hasHeader tells whether the encoded headers have one of this name, in any case as HTTP has it: a consumer
// gets them as the members of one JSON object.
func hasHeader(headers, name []byte) bool {
	for {
		have, _, rest, ok := record.NextHeader(headers)
		if !ok || bytes.EqualFold(have, name) {
			return ok
		}
		headers = rest
	}
}

const headerPrefix = "x-ayder-h-"

// appended parks or gives the answer to something that the shard accepted.
func (l *loop) appended(x *exchange, p *engine.Partition, c *commit, got engine.Append, k kind) (reply, error) {
	known := 0
	if k == owedEvents {
		known = x.cloud.known
		l.counters.Duplicates.Add(uint64(known))
	} else if got.Duplicate {
		l.counters.Duplicates.Add(1)
	}
	if !got.Duplicate {
		c.messages += int(got.Count) - known
		l.counters.MessagesAppended.Add(uint64(got.Count) - uint64(known))
		l.counters.BytesAppended.Add(uint64(len(x.body)))
	}
	w := waiter{kind: k, duplicate: got.Duplicate, target: p, partition: p.Stream().Partition, offset: got.Offset, count: got.Count}
	if !got.Duplicate {
		w.concern = l.writeConcern(x)
	}
	if k == owedEvents {
		w.again = &exchange{cloud: &cloudCall{offsets: x.cloud.offsets, known: known}}
	}
	switch {
	case !got.Duplicate && x.args.has(pTimeout) && x.args.timeoutMs == 0:
		return l.atOnce(x, &w, false), nil
	case !got.Duplicate:
		return l.park(c.batch, x, w), nil
	case got.Pending != nil:
		return l.park(l.behind(got.Pending, x), x, w), nil
	}
	return l.atOnce(x, &w, true), nil
}

// atOnce is the answer to a produce that waits for nothing.
func (l *loop) atOnce(x *exchange, w *waiter, durable bool) reply {
	w.meta = x.meta
	w.appended = now()
	l.body = w.appendBody(l.body[:0], outcome{durable: durable, synced: durable}, w.appended)
	return reply{status: 200, body: l.body}
}

// behind returns the batch that the answer to x waits for when what it asks for is in flight in
// pending already: that one, unless its connection is owed answers, perhaps from later batches. Those
// must go out first, so then it is the last batch that there is.
func (l *loop) behind(pending *record.Batch, x *exchange) *record.Batch {
	switch {
	case x.conn.loop != l || x.conn.owed == 1: // another loop's connection keeps the order itself
		return pending
	case l.open != nil && !l.open.batch.Empty():
		return l.open.batch
	}
	return l.flight[len(l.flight)-1].batch // there is one: pending itself, at least
}

func produceError(err error, p *engine.Partition) error {
	if err == engine.ErrOffset {
		return errExpected.offsets(p.Floor(), p.Assigned())
	}
	return err
}

// autoCreate makes the topic of a produce with the default settings; the produce is executed
// again when that is durable.
func (l *loop) autoCreate(x *exchange) (reply, error) {
	o := &l.server.options
	if !o.AutoCreate {
		return reply{}, errUnknownTopic.with("topic %q does not exist", x.args.topic)
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	if o.DefaultMode == engine.Rocket {
		if err := checkRocket(&x.args); err != nil {
			return reply{}, err
		}
	}
	c, err := l.batch(len(x.head))
	if err != nil {
		return reply{}, err
	}
	spec := engine.TopicSpec{Name: string(x.args.topic), Partitions: o.DefaultPartitions, Mode: o.DefaultMode}
	res, err := l.shard.CreateTopic(c.batch, spec)
	b := c.batch
	switch {
	case err == engine.ErrTopicExists && res.Batch != nil: // being created with other settings: those then
		b = res.Batch
	case err != nil:
		return reply{}, topicError(err, &spec)
	case res.State == engine.Exists:
		l.again(x.cloned())
		return reply{later: true}, nil
	case res.State == engine.Pending:
		b = res.Batch
	}
	l.exclude(x.conn)
	return l.park(b, x, waiter{kind: owedExecute, again: x.cloned()}), nil
}
