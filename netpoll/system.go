package netpoll

import "net"

// The seam between the loop and the operating system. Two implementations: uring_linux.go and evio.go.

// system is what a loop asks of the system below it. All methods but wake belong to the loop's goroutine and never
// block. The system calls back Loop.received, ended, failed, sent and forget, on the same goroutine, from its own
// stack or from inside the call.
type system interface {
	// send begins sending c.flight[c.flown:]; Loop.sent tells what became of it. Never called while one is under way.
	send(c *Conn)
	// receive switches receiving on or off; what was under way when it is switched off may still arrive.
	receive(c *Conn, on bool)
	// hangUp tells the peer that nothing more will be sent; everything sent was taken before.
	hangUp(c *Conn)
	// drop ends everything under way, closes the socket, and calls Loop.forget when nothing refers to c any more.
	drop(c *Conn)
	// wake makes the loop take a turn soon. For any goroutine.
	wake()
}

// engine is a backend as the server sees it: all its loops.
type engine interface {
	// drain stops accepting. For any goroutine.
	drain()
	// bridge makes a new connection for the handler, as if it came from remote, and returns its far end. It is
	// already counted by Server.admit. For any goroutine.
	bridge(remote string) (net.Conn, error)
	// wait returns when every loop has ended, with the first failure.
	wait() error
}

// ioState is what the system below keeps in a connection.
type ioState struct {
	// uring
	outstanding int8 // requests whose last completion is to come; the socket is closed only at 0
	armed       bool // a multishot receive is one of them
	cancelling  bool // and its cancellation was asked for
	sending     bool // a send is one of them
	dropped     bool // nothing new is begun
	// evio
	evio *evioConn
}
