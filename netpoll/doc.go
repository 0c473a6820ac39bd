// Package netpoll moves bytes between sockets and a Handler. It knows no HTTP.
//
// A Server has one or more Loops; a loop is one thread that owns its connections, and every callback of the Handler
// runs on it. Other goroutines reach a loop only by Post. One turn of a loop, the same on both backends:
//
//	completions ──▶ Handler.Data … ──▶ posted functions ──▶ resumed connections ──▶ deadlines
//	     ▲                                                                             │
//	     │                                                                             ▼
//	   wait ◀── one send per connection that has output ◀── Handler.BeforeWait ◀── Handler.Close of the dead
//
// So everything that arrived in a turn can be committed as one group in BeforeWait, and everything that was written
// in a turn, in whatever phase, leaves in one send per connection, submitted by the same system call that waits.
//
// Backends. uring (Linux ≥ 6.1): multishot accept and receive into buffers that the kernel picks from a ring shared
// by all connections, so an idle connection holds none; sends are queued as entries and submitted by the wait. evio:
// github.com/tidwall/evio, for every other system and for kernels where io_uring is refused. Listen chooses, and
// says why. The part of the package above both (Loop, Conn and the files without suffix) is the same; what it asks
// of the part below is the interface system.
//
// Life of a connection:
//
//	Open ─▶ Data* ─┬─ CloseWhenSent: output sent ─▶ SHUT_WR ─▶ input drained for a while ─┐
//	               ├─ the peer's end of stream: answers still owed are sent ──────────────┼─▶ Close
//	               └─ Abort, a reset, an error ───────────────────────────────────────────┘
//
// A Conn is never reused for another connection, so a late reply to a dead one is a no-op and cannot reach a
// stranger. Below, requests to the kernel carry slot and generation (slots.go), so a late completion cannot either.
//
// Rejected: a goroutine per connection (5-7 times the CPU); SO_REUSEPORT (a second server on the same port would go
// unnoticed); reference counts on shared buffers (the copy of what is left over after Data is short and rare).
package netpoll
