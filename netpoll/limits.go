package netpoll

import "time"

const (
	// ConnsMaxDefault is how many connections a server holds when Options does not say; further ones are accepted
	// and closed at once.
	ConnsMaxDefault = 16384
	// OutputMaxDefault is how many bytes of output may be queued on a connection before it stops being read.
	OutputMaxDefault = 1 << 20
	// InputMaxDefault is how many unconsumed bytes a connection may hold: a request of the largest size, 8 MiB, and
	// its head.
	InputMaxDefault = 8<<20 + 64<<10
	// LoopsMax is how many loops a server may have.
	LoopsMax = 64
	// LoopPostsMax is how many functions may wait in a loop's queue before TryPost refuses.
	LoopPostsMax = 16384
	// PausedInputBytes is how much a paused connection goes on gathering before its receiving is cancelled. Below
	// it a pause costs nothing, which is right for the usual pause of one commit.
	PausedInputBytes = 64 << 10
	// DrainMs and DrainBytes bound what is read and thrown away after CloseWhenSent has sent everything, so that a
	// peer which is still sending sees the answer and not a reset.
	DrainMs    = 2000
	DrainBytes = 16 << 20
	// DrainLastMs is DrainMs while the server is going.
	DrainLastMs = 1000
	// LastAcceptMs is how long the TLS listener goes on accepting what has connected when the server begins to drain, and
	// LastHandshakeMs how long what shakes hands then may go on.
	LastAcceptMs    = 10
	LastBacklogMs   = 1000 // the same for evio, which accepts one by one, between other things
	LastHandshakeMs = 1000
	// CloseFlushMs bounds how long CloseWhenSent waits for a peer that does not take the output.
	CloseFlushMs = 30_000
	// SweepMs is the granularity of SetDeadline.
	SweepMs = 1000
	// AcceptPauseMs is how long accepting rests after it failed for want of descriptors or memory.
	AcceptPauseMs = 100
	// StopGraceMs is how long, after the context of Shutdown is done, a loop waits for Busy to become false.
	StopGraceMs = 10_000
	// HandshakeMs bounds a TLS handshake.
	HandshakeMs = 10_000
	// ReceiveBuffers of ReceiveBufferBytes each are shared by the connections of one io_uring loop. Both are what
	// was measured best with small requests; a flood that finds them all taken is continued in the next turn.
	ReceiveBuffers     = 1024
	ReceiveBufferBytes = 8192
	// poolBytesMax is how much free buffer memory a loop keeps for reuse.
	poolBytesMax = 32 << 20
	// slowChunkBytes is how much of the output of a slow reader its goroutine writes in one go (evio only).
	slowChunkBytes = 256 << 10
	// descriptorsReserved stay free for files when ConnsMax is fitted to the process's limit (evio only).
	descriptorsReserved = 128
	// bindPatienceMs is how long Listen waits for a port that the kernel is still taking from a killed server (uring).
	bindPatienceMs = 500
	// drainTickMs is how often a loop takes a turn by itself after Shutdown, so that BeforeWait can close connections
	// that have become idle, and Busy is asked again.
	drainTickMs = 100
	// lastAcceptsMax bounds what is accepted in one go when the server begins to drain: a backlog as long as kernels have.
	lastAcceptsMax = 4096
	// listenerFdsMax is up to where the descriptors of the listener are looked for (evio only).
	listenerFdsMax = 4096
	// evioEndMs bounds the wait for evio's own end.
	evioEndMs = 2000
	// connSlotsMax is how many connections one loop can number, see slots.go.
	connSlotsMax = 1 << slotBits
)

// ms makes nanoseconds of one of the limits above.
func ms(n int64) int64 { return n * int64(time.Millisecond) }
