package netpoll

// Handler is what a Server does with its connections. All methods are called on the loop of the connection, one at a
// time per loop; different loops call concurrently. None may block.
type Handler interface {
	// Start is called once per loop, before any connection: the place to fill Loop.Context.
	Start(l *Loop)
	// Open begins a connection. Output may be queued already.
	Open(c *Conn)
	// Data shows every byte that has come and was not used, in one piece, valid only during the call, and learns
	// how many of them were used. The rest is kept and shown again together with what follows. A handler that stops
	// before the end because c.Full() is true, or pauses c, is shown the rest as soon as that is over.
	Data(c *Conn, buf []byte) (used int)
	// Writable says that c was Full and is not any more: who has more to send may go on.
	Writable(c *Conn)
	// Timeout says that the deadline of c has passed. It is cleared before the call.
	Timeout(c *Conn)
	// Close is called exactly once per Open; err is nil for an orderly end. Afterwards c is dead: its methods do
	// nothing.
	Close(c *Conn, err error)
	// BeforeWait is called at the end of every turn, before output is sent and the loop sleeps.
	BeforeWait(l *Loop)
	// Stop is the last call on a loop.
	Stop(l *Loop)
}
