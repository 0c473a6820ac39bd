package api

import "strconv"

// Events: GET /cloudevents/{topic} gives a partition's messages as CloudEvents, a batch at a time, or as a stream of server-sent events.
//
// It is consume (consume.go) in another dialect: every message is an event, also one that was produced as something else (package
// cloudevent says how). A batch has no room for anything but events, so where to go on is in the answer's head: Ayder-Next-Offset,
// and a Link that is the next request.

// consumeCloudEvents answers a batch of events, or begins a stream of them.
func consumeCloudEvents(l *loop, x *exchange) (reply, error) {
	fm := acceptedForm(x.req.Accept)
	if fm == formLines { // which is not a format of events
		fm = formPage
	}
	if fm == formEvents && (x.args.has(pWait) || x.args.has(pMaxBytes)) {
		return reply{}, errBadParameter.with("wait_ms and max_bytes are for batches; Accept asks for a stream, which waits for as long as it is read")
	}
	return l.consume(x, fm, dialectEvents)
}

// eventsReply is the answer that a page of events is.
func (pg *page) eventsReply() reply {
	next := strconv.FormatUint(pg.next, 10)
	link := "</cloudevents/" + pg.topic + "?partition=" + strconv.FormatUint(uint64(pg.stream.Partition), 10) + "&offset=" + next + `>; rel="next"`
	return reply{
		status: 200, contentType: cloudBatchType, body: append(pg.out, ']'),
		header: "Ayder-Next-Offset: " + next + "\r\nLink: " + link + "\r\n",
	}
}
