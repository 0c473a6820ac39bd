package uring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Each Prep method fills a zeroed entry for one operation; the caller then sets UserData (Kind.UserData). Buffers
// must stay valid, unmoved and untouched until the completion: the kernel holds only their address, so they come
// from Anon, never from a stack or a Go slice that nobody else keeps.

// PrepNop completes at once with 0.
func (s *SQE) PrepNop() { s.Opcode = opNop }

// PrepAcceptMultishot accepts connections on the listening socket fd until a completion lacks CQEMore. Every
// completion is a new descriptor (close-on-exec) or an error.
func (s *SQE) PrepAcceptMultishot(fd int) {
	s.Opcode, s.Fd = opAccept, int32(fd)
	s.IoPrio = acceptMultishot
	s.OpFlags = unix.SOCK_CLOEXEC
}

// PrepRecvMultishot receives from fd into buffers of the group until a completion lacks CQEMore: end of stream (0),
// an error, or -ENOBUFS when the group is empty. BufferID tells which buffer holds the bytes.
func (s *SQE) PrepRecvMultishot(fd int, group uint16) {
	s.Opcode, s.Fd = opRecv, int32(fd)
	s.IoPrio = recvMultishot
	s.Flags = sqeBufferSelect
	s.BufIndex = group
}

// PrepRecv receives once into p.
func (s *SQE) PrepRecv(fd int, p []byte, msgFlags uint32) {
	s.prepBuffer(opRecv, fd, p)
	s.OpFlags = msgFlags
}

// PrepSend sends p. MSG_NOSIGNAL is always added; with MSG_WAITALL the kernel itself continues a short send.
func (s *SQE) PrepSend(fd int, p []byte, msgFlags uint32) {
	s.prepBuffer(opSend, fd, p)
	s.OpFlags = msgFlags | unix.MSG_NOSIGNAL
}

// PrepWrite writes p at the file offset off (bytes).
func (s *SQE) PrepWrite(fd int, p []byte, off int64) {
	s.prepBuffer(opWrite, fd, p)
	s.Off = uint64(off)
}

// PrepWriteDSync writes p at off and completes only when the data is on stable storage (RWF_DSYNC, pwritev2(2)). On
// a descriptor opened with O_DIRECT p, its length and off must be aligned to the device's logical block.
func (s *SQE) PrepWriteDSync(fd int, p []byte, off int64) {
	s.PrepWrite(fd, p, off)
	s.OpFlags = unix.RWF_DSYNC
}

// PrepWriteFixedDSync is PrepWriteDSync from inside the registered buffer with the given index (RegisterBuffers),
// which saves pinning its pages for every write.
func (s *SQE) PrepWriteFixedDSync(fd int, p []byte, off int64, index uint16) {
	s.PrepWriteDSync(fd, p, off)
	s.Opcode = opWriteFixed
	s.BufIndex = index
}

// PrepRead reads into p from the file offset off (bytes).
func (s *SQE) PrepRead(fd int, p []byte, off int64) {
	s.prepBuffer(opRead, fd, p)
	s.Off = uint64(off)
}

// PrepReadFixed is PrepRead into the registered buffer with the given index.
func (s *SQE) PrepReadFixed(fd int, p []byte, off int64, index uint16) {
	s.PrepRead(fd, p, off)
	s.Opcode = opReadFixed
	s.BufIndex = index
}

// PrepFdatasync makes the file's data durable. It is not ordered after writes that are still in flight.
func (s *SQE) PrepFdatasync(fd int) {
	s.Opcode, s.Fd = opFsync, int32(fd)
	s.OpFlags = fsyncDatasync
}

// PrepClose closes fd. Requests on it keep their own reference: cancel them first.
func (s *SQE) PrepClose(fd int) { s.Opcode, s.Fd = opClose, int32(fd) }

// PrepShutdown is shutdown(2); how is unix.SHUT_RD, SHUT_WR or SHUT_RDWR.
func (s *SQE) PrepShutdown(fd, how int) {
	s.Opcode, s.Fd = opShutdown, int32(fd)
	s.Len = uint32(how)
}

// PrepCancel cancels every request with this user data; Res is how many were found. The cancelled requests complete
// on their own, most with -ECANCELED.
func (s *SQE) PrepCancel(userData uint64) {
	s.Opcode, s.Fd = opAsyncCancel, -1
	s.Addr = userData
	s.OpFlags = cancelAll
}

// PrepCancelFd cancels every request on fd; Res as for PrepCancel.
func (s *SQE) PrepCancelFd(fd int) {
	s.Opcode, s.Fd = opAsyncCancel, int32(fd)
	s.OpFlags = cancelAll | cancelFd
}

// PrepPollAdd completes once with the ready events when fd has any of mask (unix.POLLIN, …).
func (s *SQE) PrepPollAdd(fd int, mask uint32) {
	s.Opcode, s.Fd = opPollAdd, int32(fd)
	s.OpFlags = mask
}

// PrepPollMultishot completes for every wake-up of fd until a completion lacks CQEMore.
func (s *SQE) PrepPollMultishot(fd int, mask uint32) {
	s.PrepPollAdd(fd, mask)
	s.Len = pollMultishot
}

// PrepMsgRing posts a completion (userData, res, no flags) on the ring with the descriptor ringFd. The user data is
// that ring's: make it with a Kind of its own. Add SQESkipSuccess when nobody here cares about the sending.
func (s *SQE) PrepMsgRing(ringFd int, userData uint64, res int32) {
	s.Opcode, s.Fd = opMsgRing, int32(ringFd)
	s.Off = userData
	s.Len = uint32(res)
}

func (s *SQE) prepBuffer(opcode uint8, fd int, p []byte) {
	s.Opcode, s.Fd = opcode, int32(fd)
	s.Addr = address(p)
	s.Len = uint32(len(p))
}

// More reports whether a multishot request goes on after a completion with these flags.
func More(flags uint32) bool { return flags&CQEMore != 0 }

// BufferID is the provided buffer of a completion, if it has one.
func BufferID(flags uint32) (id uint16, ok bool) { return uint16(flags >> 16), flags&CQEBuffer != 0 }

// address is where p starts, as the kernel wants it. The result keeps nothing alive.
func address(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) }
