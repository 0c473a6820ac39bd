package api

import (
	"errors"
	"slices"

	"ayder/engine"
	"ayder/internal/query"
	"ayder/internal/record"
)

// Which pipelines run here: those that write into a partition of this loop, while this node leads.
//
//	tend      once a second, and whenever there is a reason: begin what should run and does not, end what should not
//	heard     there are messages
//	start     a worker has the pipeline's run ...
//	worked    ... and comes back with a step, or with nothing to do
//	writePipes  the step goes into a batch; the next one is made meanwhile
//
// Nobody is told when a step is durable: whatever comes of it, the shard knows where the pipeline is, and refuses a step that does not
// follow. A run whose step is refused is thrown away and another one begins where the shard says. So it is after a loss of leadership, too.
//
// Steps get their batch at the beginning of the end of a turn, before it is submitted with what clients have sent: a busy loop, all of whose
// batches are under way, would never have one for them otherwise.

// pipeState is what a pipeline is doing.
type pipeState uint8

const (
	pipeWaiting pipeState = iota // for something that is not a message
	pipeRunning
	pipeFailed
)

var pipeStates = [...]string{"waiting", "running", "failed"}

// pipe is a pipeline that runs here.
type pipe struct {
	loop   *loop
	id     uint32
	of     *engine.Pipeline
	run    *pipeRun // nil: to be made
	busy   bool     // a worker has the run
	woken  bool     // there was news since the worker began
	step   *pipeStep
	state  pipeState
	reason string       // why it waits or has failed
	counts query.Counts // as of the last piece of work that was done here
	ears   map[record.Stream]*ear
}

// tendPipelines has every loop look after its pipelines: one was created or deleted.
func (s *Server) tendPipelines() {
	s.postAll(func(l *loop) { l.tendPipes() })
}

// pipesBy has the loop look after its pipelines at a time.
func (l *loop) pipesBy(at int64) {
	l.pipeAlarm.who = pipeTender{}
	l.alarms.set(&l.pipeAlarm, at)
	l.net.WakeAt(at)
}

// pipeTender is the alarm's.
type pipeTender struct{}

func (pipeTender) due(l *loop, _ int64) { l.tendPipes() }

// tendPipes begins and ends what should.
func (l *loop) tendPipes() {
	all := l.server.options.Engine.Pipelines()
	if !l.mayPipe() {
		l.dropPipes()
		if len(all) > 0 && !l.term.over && !l.draining && l.failed == nil {
			l.pipesBy(l.net.Now() + int64(pipeLeadEvery)) // the term has begun and this node is about to lead
		}
		return
	}
	for id, p := range l.pipes {
		if l.server.options.Engine.PipelineByID(id) == nil {
			l.dropPipe(p)
		}
	}
	for _, of := range all {
		if l.server.options.Engine.ShardOf(of.Spec().Into) != l.index {
			continue
		}
		p := l.pipes[of.ID()]
		if p == nil {
			p = &pipe{loop: l, id: of.ID(), of: of, ears: make(map[record.Stream]*ear)}
			l.pipes[of.ID()] = p
		}
		p.tend()
	}
	if len(l.pipes) > 0 {
		l.pipesBy(l.net.Now() + int64(pipeTendEvery))
	}
}

// mayPipe tells whether pipelines may run here now.
func (l *loop) mayPipe() bool { return l.leading() && l.failed == nil && !l.draining }

// dropPipes ends everything that runs here.
func (l *loop) dropPipes() {
	for _, p := range l.pipes {
		l.dropPipe(p)
	}
	l.writing = nil
}

func (l *loop) dropPipe(p *pipe) {
	delete(l.pipes, p.id)
	p.rest()
	p.run, p.step = nil, nil
}

// rest has the pipeline hear of nothing.
func (p *pipe) rest() {
	for _, e := range p.ears {
		p.loop.unlisten(e)
	}
	clear(p.ears)
}

// fail ends the pipeline here, for good.
func (p *pipe) fail(reason string) {
	p.state, p.reason = pipeFailed, reason
	p.run, p.step = nil, nil
	p.rest()
	p.loop.server.options.Logger.Warn("a pipeline has failed", "pipeline", p.of.Spec().Name, "reason", reason)
}

// wait gives the run up; another one begins when the pipeline is tended.
func (p *pipe) wait(reason string) {
	p.state, p.reason = pipeWaiting, reason
	p.run, p.step = nil, nil
}

// tend sees to one pipeline.
func (p *pipe) tend() {
	if p.state == pipeFailed {
		return
	}
	spec := p.of.Spec()
	if p.loop.server.lookup(spec.Into) == nil {
		p.fail("the topic that it writes to was deleted")
		return
	}
	for i := range spec.Inputs {
		streams := p.loop.server.streams(&spec.Inputs[i])
		if len(streams) == 0 {
			p.fail("a topic that it reads was deleted")
			return
		}
		for _, s := range streams {
			if p.ears[s] == nil {
				e := &ear{}
				p.ears[s] = e
				p.loop.listen(e, s, p)
			}
		}
	}
	p.start()
}

// heard implements listener.
func (p *pipe) heard(*loop, *feed) {
	p.woken = true
	p.start()
}

// start gives the run to a worker, unless one has it or its step has yet to be written.
func (p *pipe) start() {
	l := p.loop
	if p.busy || p.step != nil || p.state == pipeFailed || !l.mayPipe() {
		return
	}
	if p.run == nil {
		at := l.server.lookup(p.of.Spec().Into)
		if at == nil {
			return // tend says so
		}
		g := l.shard.PipelineProgress(at, p.id)
		if g.InFlight > 0 {
			return // the next look comes soon enough
		}
		p.run = &pipeRun{server: l.server, pipe: p.of, from: g}
	}
	run := p.run
	p.busy, p.woken = true, false
	ok := l.server.pipers.add(func(w *worker) {
		began, produced := now(), l.server.produced()
		step, more, err := run.work(w)
		counts, known := run.counts()
		l.net.Post(func() {
			if known {
				p.counts = counts
			}
			p.worked(run, step, more, err)
		})
		l.server.rest(pipeRest*(now()-began), produced)
	})
	if !ok {
		p.busy = false // it is tended again
	}
}

// worked takes what a worker brings back.
func (p *pipe) worked(run *pipeRun, step *pipeStep, more bool, err error) {
	p.busy = false
	if p.loop.pipes[p.id] != p {
		return
	}
	if p.run != run {
		p.start()
		return
	}
	switch {
	case err != nil && isFinal(err):
		p.fail(err.Error())
		return
	case err != nil:
		p.wait(asError(err).Message)
		return
	}
	p.state, p.reason = pipeRunning, ""
	switch {
	case step != nil:
		p.step = step
		p.loop.writing = append(p.loop.writing, p)
	case more || p.woken:
		p.start()
	default:
		run.relax()
	}
}

// writePipes puts steps that are ready into batches, as far as there are any.
func (l *loop) writePipes() {
	if len(l.writing) == 0 {
		return
	}
	if !l.mayPipe() {
		l.dropPipes()
		return
	}
	l.writing = slices.DeleteFunc(l.writing, func(p *pipe) bool { return p.step == nil || p.write() })
}

// write puts the pipeline's step into a batch; false: later.
func (p *pipe) write() (done bool) {
	l, step := p.loop, p.step
	at := l.server.lookup(p.of.Spec().Into)
	if at == nil {
		p.fail("the topic that it writes to was deleted")
		return true
	}
	if _, inFlight := l.shard.PipelineSteps(at, p.id); inFlight >= pipeFlightMax {
		return false
	}
	c, err := l.batch(step.size)
	switch {
	case err == errStall:
		return false
	case errors.Is(err, errNoSpace):
		p.state, p.reason = pipeWaiting, errNoSpace.Message
		return false
	case err == ErrNotLeader, errors.Is(err, errStorage):
		p.wait("")
		return true
	case err != nil:
		p.fail("its rows and what it remembers do not fit a batch: " + asError(err).Message)
		return true
	}
	err = l.shard.StepPipeline(c.batch, at, &step.PipelineStep, step.rows)
	switch {
	case errors.Is(err, engine.ErrPipelineState):
		p.fail("state too large: " + err.Error())
	case err != nil: // somebody else has moved it, or it is gone
		p.wait(err.Error())
	default:
		c.messages += len(step.rows)
		l.counters.MessagesPiped.Add(uint64(len(step.rows)))
		l.counters.MessagesAppended.Add(uint64(len(step.rows)))
		p.step, p.state, p.reason = nil, pipeRunning, ""
		p.start()
	}
	return true
}
