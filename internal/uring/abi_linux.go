package uring

// The kernel's structures and numbers, from include/uapi/linux/io_uring.h. The suite checks sizes and offsets.
// They are spelt out here because giouring keeps some of them unexported and has others wrong, and both
// inner rings must mean the same bytes.

// SQE is one submission entry, 64 bytes, laid out as the kernel reads it. Fill it with a Prep method, then UserData.
type SQE struct {
	Opcode      uint8
	Flags       uint8
	IoPrio      uint16
	Fd          int32
	Off         uint64
	Addr        uint64
	Len         uint32
	OpFlags     uint32
	UserData    uint64
	BufIndex    uint16
	Personality uint16
	FileIndex   int32
	Addr3       uint64
	_           uint64
}

// CQE is one completion, 16 bytes: Res is what the system call would have returned, or a negated errno.
type CQE struct {
	UserData uint64
	Res      int32
	Flags    uint32
}

// Operations used here (enum io_uring_op).
const (
	opNop         = 0
	opFsync       = 3
	opReadFixed   = 4
	opWriteFixed  = 5
	opPollAdd     = 6
	opAccept      = 13
	opAsyncCancel = 14
	opClose       = 19
	opRead        = 22
	opWrite       = 23
	opSend        = 26
	opRecv        = 27
	opShutdown    = 34
	opMsgRing     = 40
)

// Flags of an entry (SQE.Flags). Linking is missing on purpose: a chain would break where the queue happens to fill.
const (
	sqeBufferSelect = 1 << 5
	// SQESkipSuccess may be added after a Prep method: no completion unless the operation fails.
	SQESkipSuccess = 1 << 6
)

// Flags of a completion.
const (
	CQEBuffer       = 1 << 0 // the upper 16 bits are a provided buffer's id
	CQEMore         = 1 << 1 // the multishot request goes on; when missing, it must be armed again
	CQESockNonEmpty = 1 << 2 // a receive left data in the socket
)

const (
	acceptMultishot = 1 << 0 // SQE.IoPrio of accept
	recvMultishot   = 1 << 1 // SQE.IoPrio of recv
	pollMultishot   = 1 << 0 // SQE.Len of poll
	cancelAll       = 1 << 0 // SQE.OpFlags of cancel
	cancelFd        = 1 << 1
	cancelAny       = 1 << 2
	fsyncDatasync   = 1 << 0
)

const (
	setupCQSize       = 1 << 3
	setupClamp        = 1 << 4
	setupRDisabled    = 1 << 6 // tests only: a ring that refuses entries until enabled
	setupSubmitAll    = 1 << 7
	setupCoopTaskrun  = 1 << 8
	setupTaskrunFlag  = 1 << 9
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
)

const (
	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featExtArg     = 1 << 8
)

const (
	registerBuffers    = 0
	registerProbe      = 8
	registerRingFds    = 20
	unregisterRingFds  = 21
	registerPbufRing   = 22
	unregisterPbufRing = 23
	registerSyncCancel = 24

	probeOpSupported = 1 << 0
	probeOps         = 256
	ringFdOffsetAny  = ^uint32(0) // the kernel chooses the place
)

// params is struct io_uring_params, 120 bytes: flags and sizes in, sizes, features and offsets out.
type params struct {
	SQEntries, CQEntries, Flags, SQThreadCPU, SQThreadIdle, Features, WQFd uint32

	_  [3]uint32
	SQ struct {
		Head, Tail, Mask, Entries, Flags, Dropped, Array, _ uint32
		UserAddr                                            uint64
	}
	CQ struct {
		Head, Tail, Mask, Entries, Overflow, CQEs, Flags, _ uint32
		UserAddr                                            uint64
	}
}

// rsrcUpdate is struct io_uring_rsrc_update.
type rsrcUpdate struct {
	Offset, _ uint32
	Data      uint64
}

// bufReg is struct io_uring_buf_reg.
type bufReg struct {
	RingAddr    uint64
	RingEntries uint32
	Group       uint16
	Flags       uint16
	_           [3]uint64
}

// syncCancelReg is struct io_uring_sync_cancel_reg.
type syncCancelReg struct {
	Addr      uint64
	Fd        int32
	Flags     uint32
	TimeoutS  int64
	TimeoutNs int64
	Opcode    uint8
	_         [7]uint8
	_         [3]uint64
}

// probeReg is struct io_uring_probe with room for every operation number.
type probeReg struct {
	LastOp, OpsLen uint8
	_              uint16
	_              [3]uint32
	Ops            [probeOps]struct {
		Op, _ uint8
		Flags uint16
		_     uint32
	}
}
