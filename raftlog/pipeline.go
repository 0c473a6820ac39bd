package raftlog

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A pipeline is a connection on which several AppendEntries are under way: raft's replication goroutine sends, a goroutine
// of the pipeline receives the answers, in order, and gives them to raft's decoder.
//
//	AppendEntries ──► sent (InFlight-1 places) ──► receive ──► done (InFlight places) ──► raft's decoder
//
// In hashicorp's own pipeline (raft issue 612) raft's decoder leaves after the first refusal, the receiving goroutine
// blocks on done, which nobody reads any more, and the sender blocks on sent: the peer is never replicated to again.
// Here the receiver breaks the pipeline before it hands over an answer that will make raft's decoder leave. From then on
// AppendEntries fails instead of waiting, and raft falls back to single calls. done has a place for everything under way,
// so that the receiver hardly ever waits for the decoder; if it does, Close ends the wait.

// pipeline implements raft.AppendPipeline.
type pipeline struct {
	t      *transport
	id     raft.ServerID
	c      *outbound
	sent   chan *appendFuture
	done   chan raft.AppendFuture
	broken chan struct{} // closed when there will be no more answers
	closed chan struct{} // closed when nobody wants any
	breaks sync.Once
	closes sync.Once
}

// appendFuture implements raft.AppendFuture.
type appendFuture struct {
	p        *pipeline
	start    time.Time
	request  *raft.AppendEntriesRequest
	response *raft.AppendEntriesResponse
	err      error // valid when answered is closed
	answered chan struct{}
}

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, addr raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.o.InFlight < 2 {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	c := t.takeIdle(id, addr)
	if c == nil {
		var err error
		if c, err = t.dial(t.ctx, id, addr, time.Now().Add(t.o.Timeout)); err != nil {
			return nil, err
		}
	}
	p := &pipeline{
		t: t, id: id, c: c, sent: make(chan *appendFuture, t.o.InFlight-1), done: make(chan raft.AppendFuture, t.o.InFlight),
		broken: make(chan struct{}), closed: make(chan struct{}),
	}
	if !t.enter(p) || !t.start(p.receive) {
		_ = p.Close()
		return nil, errTransportClosed
	}
	return p, nil
}

// enter registers a pipeline, so that breakPipelines finds it.
func (t *transport) enter(p *pipeline) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.pipes[p] = struct{}{}
	return true
}

// breakPipelines closes the pipelines to a peer that seems not to be there.
func (t *transport) breakPipelines(id raft.ServerID) {
	var found []*pipeline
	t.mu.Lock()
	for p := range t.pipes {
		if p.id == id {
			found = append(found, p)
		}
	}
	t.mu.Unlock()
	for _, p := range found {
		p.fail()
	}
}

// AppendEntries sends a request. It waits while InFlight are under way; that is raft's back-pressure. It may shorten
// args.Entries.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	entries, err := trimEntries(args.Entries)
	if err != nil {
		return nil, err
	}
	args.Entries = entries
	p.t.match.observe(args.Term)
	f := &appendFuture{p: p, request: args, response: resp, answered: make(chan struct{})}
	f.start = time.Now()
	select {
	case <-p.broken:
		return nil, raft.ErrPipelineShutdown
	default:
	}
	select {
	case p.sent <- f:
	case <-p.broken:
		return nil, raft.ErrPipelineShutdown
	}
	p.c.out = encodeAppend(p.c.out, args, p.t.commitToSend(args))
	err = p.c.wire.send(p.c.out, time.Now().Add(p.t.o.Timeout))
	p.c.out = kept(p.c.out)
	if err != nil {
		p.fail()
		return nil, err
	}
	return f, nil
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close ends the pipeline and its connection. It may be called from any goroutine, also twice.
func (p *pipeline) Close() error {
	p.fail()
	p.closes.Do(func() { close(p.closed) })
	return nil
}

// fail ends the conversation. The answer that is being waited for, if any, still reaches raft's decoder, as an error.
func (p *pipeline) fail() {
	p.breaks.Do(func() {
		close(p.broken)
		p.t.hangUp(p.c)
		p.t.mu.Lock()
		delete(p.t.pipes, p)
		p.t.mu.Unlock()
	})
}

// receive hands answers to raft's decoder until one that makes it leave.
func (p *pipeline) receive() {
	defer p.fail()
	for {
		var f *appendFuture
		select {
		case f = <-p.sent:
		case <-p.broken:
			return
		case <-p.t.ctx.Done():
			return
		}
		good := p.finish(f)
		if !good {
			p.fail() // before the decoder can leave
		}
		select {
		case p.done <- f:
		case <-p.closed:
			return
		case <-p.t.ctx.Done():
			return
		}
		if !good {
			return
		}
	}
}

// finish receives the answer to f; false: raft will not go on with this pipeline.
func (p *pipeline) finish(f *appendFuture) bool {
	k, body, err := p.c.wire.receiveBy(time.Now().Add(p.t.o.Timeout), smallBodyMax)
	if err == nil {
		p.c.record.touch()
		err = decodeAnswer(k, kindAppended, body, func(fs *fields) { decodeAppended(fs, f.response) })
	}
	if err != nil {
		f.response.Success = false // raft looks at nothing else
	}
	f.err = err
	close(f.answered)
	if err != nil || !f.response.Success {
		return false
	}
	p.t.acknowledged(p.id, f.request, f.response, f.start)
	return true
}

// Error waits for the answer.
func (f *appendFuture) Error() error {
	select {
	case <-f.answered:
		return f.err
	case <-f.p.broken:
	}
	select {
	case <-f.answered:
		return f.err
	default:
		return raft.ErrPipelineShutdown
	}
}

// Start is when the request was sent.
func (f *appendFuture) Start() time.Time { return f.start }

// Request implements raft.AppendFuture.
func (f *appendFuture) Request() *raft.AppendEntriesRequest { return f.request }

// Response is valid after Error returned nil.
func (f *appendFuture) Response() *raft.AppendEntriesResponse { return f.response }
