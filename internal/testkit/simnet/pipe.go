package simnet

// The bytes on their way in one direction. A write becomes a chunk with the time at which it arrives; the reader takes what
// has arrived, and whoever waits at the pipe is woken when there may be more. A direction that is blocked or was blocked
// a moment ago delivers nothing, and loses nothing.

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// pipe is what is on its way from one end of a connection to the other. All fields are guarded by the network's lock.
type pipe struct {
	net      *Network
	from, to string // machines
	cond     *sync.Cond

	queue  []chunk // in the order in which they arrive
	queued int     // bytes in queue
	hold   time.Time

	// end is what the reader gets behind the queue: io.EOF, a reset, or nil while the writer lives or is silently gone.
	end   error
	endAt time.Time
	// orphan: the reading process is gone; what arrives at its machine, once that lives, is answered with a reset.
	orphan bool
	back   *pipe
}

// chunk is what one Write sent.
type chunk struct {
	data []byte
	at   time.Time // when it arrives
}

func (n *Network) newPipe(from, to string) *pipe {
	p := &pipe{net: n, from: from, to: to, cond: sync.NewCond(&n.mu)}
	n.pipes[p] = struct{}{}
	return p
}

// due is when something sent now arrives: never before what was sent earlier.
func (p *pipe) due() time.Time {
	at := time.Now().Add(p.net.delay())
	if at.Before(p.hold) {
		at = p.hold
	}
	if n := len(p.queue); n > 0 && at.Before(p.queue[n-1].at) {
		at = p.queue[n-1].at
	}
	return at
}

// send puts a copy of data on its way.
func (p *pipe) send(data []byte) {
	at := p.due()
	p.queue = append(p.queue, chunk{slices.Clone(data), at})
	p.queued += len(data)
	p.wakeAt(at)
	p.refuse()
}

// finish ends the pipe behind what is on its way.
func (p *pipe) finish(err error) {
	if p.end == nil {
		p.end, p.endAt = err, p.due()
		p.wakeAt(p.endAt)
	}
}

// refuse answers what reaches a machine that does not know the connection with a reset. The reset overtakes what
// the writer's end was still to get.
func (p *pipe) refuse() {
	if !p.orphan || len(p.queue) == 0 || p.net.machines[p.to].dark || p.net.blocked[direction{p.from, p.to}] {
		return
	}
	p.queue, p.queued = nil, 0
	p.cond.Broadcast()
	p.back.end = nil
	p.back.finish(syscall.ECONNRESET)
}

// cut drops what has not arrived, or some of it: the sender lost its power. What was held has to be sent again, and
// nobody is there to do it.
func (p *pipe) cut() {
	for i, c := range p.queue {
		if !p.arrived(c.at) && (p.held() || p.net.rng.IntN(2) == 0) {
			for _, lost := range p.queue[i:] {
				p.queued -= len(lost.data)
			}
			p.queue = p.queue[:i]
			return
		}
	}
}

// holdFor makes nothing arrive for a time.
func (p *pipe) holdFor(d time.Duration) {
	p.hold = time.Now().Add(d)
	p.wakeAt(p.hold)
}

// wakeAt has reader and writer look again then.
func (p *pipe) wakeAt(at time.Time) *time.Timer {
	return time.AfterFunc(time.Until(at), func() {
		p.net.mu.Lock()
		defer p.net.mu.Unlock()
		p.cond.Broadcast()
	})
}

// arrived tells whether something due at that time can have been delivered by now.
func (p *pipe) arrived(at time.Time) bool { return !at.After(time.Now()) && !p.held() }

// held tells that nothing gets through at the moment.
func (p *pipe) held() bool {
	return p.hold.After(time.Now()) || p.net.blocked[direction{p.from, p.to}]
}

// receive takes what has arrived, up to len(b) bytes; 0 and nil if nothing has.
func (p *pipe) receive(b []byte) (n int, err error) {
	for n < len(b) && len(p.queue) > 0 && p.arrived(p.queue[0].at) {
		c := &p.queue[0]
		k := copy(b[n:], c.data)
		n += k
		c.data = c.data[k:]
		if len(c.data) == 0 {
			p.queue = p.queue[1:]
		}
	}
	if n > 0 {
		p.queued -= n
		p.cond.Broadcast()
		return n, nil
	}
	if len(p.queue) == 0 && p.end != nil && p.arrived(p.endAt) {
		return 0, p.end
	}
	return 0, nil
}
