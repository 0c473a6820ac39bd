package uring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// listen opens a TCP listener on a free loopback port.
func listen(t *testing.T) (fd int, addr unix.Sockaddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		t.Fatal(err)
	}
	if addr, err = unix.Getsockname(fd); err != nil {
		t.Fatal(err)
	}
	return fd, addr
}

func dial(t *testing.T, addr unix.Sockaddr) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Connect(fd, addr); err != nil {
		t.Fatal(err)
	}
	return fd
}

// A server's whole life on one ring: accept many by one request, receive, answer, shut down, close.
func TestTCPConversation(t *testing.T) {
	const conns = 20
	r := newRing(t, Config{Entries: 64})
	b, err := r.NewBufRing(8, 256, 1)
	if err != nil {
		t.Fatal(err)
	}
	accepts, recvs, ops := collect(r), collect(r), collect(r)
	listener, addr := listen(t)
	s := r.SQE()
	s.PrepAcceptMultishot(listener)
	s.UserData = accepts.kind.UserData(0)
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	answer := anonString(t, "pong")
	for range conns {
		client := dial(t, addr)
		got := accepts.await(t, r, 1)[0]
		if got.res < 0 || !More(got.flags) {
			t.Fatalf("accept: %+v", got)
		}
		fd := int(got.res)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("accepted descriptor is not close-on-exec: %#x, %v", flags, err)
		}
		armRecv(r, fd, b, recvs)
		if err := r.Submit(); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, client, "ping")
		in := recvs.await(t, r, 1)[0]
		id, _ := BufferID(in.flags)
		if string(b.Bytes(id)[:max(in.res, 0)]) != "ping" {
			t.Fatalf("received %+v", in)
		}
		b.Put(id)
		b.Publish()
		ops.must(t, r, 4, func(s *SQE) { s.PrepSend(fd, answer, unix.MSG_WAITALL) })
		ops.must(t, r, 0, func(s *SQE) { s.PrepShutdown(fd, unix.SHUT_WR) })
		reply := make([]byte, 16)
		if n, err := unix.Read(client, reply); err != nil || string(reply[:n]) != "pong" {
			t.Fatalf("reply %q, %v", reply[:n], err)
		}
		if n, err := unix.Read(client, reply); err != nil || n != 0 {
			t.Fatalf("no end of stream: %d, %v", n, err)
		}
		if err := unix.Close(client); err != nil {
			t.Fatal(err)
		}
		if end := recvs.await(t, r, 1)[0]; end.res != 0 || More(end.flags) {
			t.Fatalf("end of input: %+v", end)
		}
		ops.must(t, r, 0, func(s *SQE) { s.PrepClose(fd) })
	}
}

func TestRecvIntoOwnBuffer(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	mine, peer := socketpair(t, unix.SOCK_STREAM)
	buf := anon(t, 64)
	mustWrite(t, peer, "hello")
	c.must(t, r, 5, func(s *SQE) { s.PrepRecv(mine, buf, 0) })
	if string(buf[:5]) != "hello" {
		t.Errorf("received %q", buf[:5])
	}
	c.must(t, r, -int32(unix.EAGAIN), func(s *SQE) { s.PrepRecv(mine, buf, unix.MSG_DONTWAIT) })
}

// A peer that is gone is an error of the send, not a SIGPIPE that ends the process.
func TestSendToClosedPeer(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	mine, peer := socketpair(t, unix.SOCK_STREAM)
	if err := unix.Close(peer); err != nil {
		t.Fatal(err)
	}
	p := anonString(t, "anybody?")
	c.must(t, r, -int32(unix.EPIPE), func(s *SQE) { s.PrepSend(mine, p, 0) })
}

func TestCancel(t *testing.T) {
	r := newRing(t, Config{Entries: 32})
	b, err := r.NewBufRing(8, 64, 1)
	if err != nil {
		t.Fatal(err)
	}
	recvs, c := collect(r), collect(r)
	mine, _ := socketpair(t, unix.SOCK_STREAM)
	other, _ := socketpair(t, unix.SOCK_STREAM)
	for _, by := range []struct {
		name string
		prep func(*SQE)
	}{
		{"user data", func(s *SQE) { s.PrepCancel(recvs.kind.UserData(uint64(mine))) }},
		{"descriptor", func(s *SQE) { s.PrepCancelFd(mine) }},
	} {
		armRecv(r, mine, b, recvs)
		if res := c.one(t, r, by.prep); res != 1 {
			t.Errorf("by %s: found %d", by.name, res)
		}
		got := recvs.await(t, r, 1)
		if len(got) != 1 || got[0].payload != uint64(mine) || got[0].res != -int32(unix.ECANCELED) || More(got[0].flags) {
			t.Errorf("by %s: cancelled request completed with %+v", by.name, got)
		}
	}
	armRecv(r, other, b, recvs)
	c.must(t, r, 0, func(s *SQE) { s.PrepCancel(recvs.kind.UserData(12345)) })
	if len(recvs.all) != 0 {
		t.Errorf("somebody else's request was cancelled: %+v", recvs.all)
	}
}

func TestPoll(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	mine, peer := socketpair(t, unix.SOCK_SEQPACKET)
	s := r.SQE()
	s.PrepPollMultishot(mine, unix.POLLIN)
	s.UserData = c.kind.UserData(1)
	if err := r.Submit(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		mustWrite(t, peer, "x")
		got := c.await(t, r, 1)[0]
		if got.res&unix.POLLIN == 0 || !More(got.flags) {
			t.Fatalf("got %+v", got)
		}
	}
	if res := c.one(t, r, func(s *SQE) { s.PrepPollAdd(mine, unix.POLLIN) }); res&unix.POLLIN == 0 {
		t.Errorf("single poll: %d", res)
	}
}

const block = 4096

// directFile opens a new file without the page cache where the file system can, else through it.
func directFile(t *testing.T) int {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("no O_DIRECT on the file system of the temporary directory (tmpfs?)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Fallocate(fd, 0, 0, 64*block); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatal(err)
	}
	return fd
}

// The commit of the log: synced direct writes, several in flight, each at its own place.
func TestWriteDSync(t *testing.T) {
	const writes = 16
	r := newRing(t, Config{Entries: 32})
	c := collect(r)
	fd := directFile(t)
	memory := anon(t, writes*block)
	for i := range writes {
		p := memory[i*block : (i+1)*block]
		for j := range p {
			p[j] = byte(i + 1)
		}
		s := r.SQE()
		s.PrepWriteDSync(fd, p, int64(writes-1-i)*block)
		s.UserData = c.kind.UserData(uint64(i))
	}
	for _, got := range c.await(t, r, writes) {
		if got.res != block {
			t.Fatalf("write %d: %d (%v)", got.payload, got.res, errno(got.res))
		}
	}
	back := anon(t, writes*block)
	c.must(t, r, writes*block, func(s *SQE) { s.PrepRead(fd, back, 0) })
	for i := range writes {
		want := bytes.Repeat([]byte{byte(writes - i)}, block)
		if !bytes.Equal(back[i*block:(i+1)*block], want) {
			t.Errorf("block %d holds %d", i, back[i*block])
		}
	}
	c.must(t, r, 0, func(s *SQE) { s.PrepFdatasync(fd) })
	unaligned := memory[1 : 1+block]
	if res := c.one(t, r, func(s *SQE) { s.PrepWriteDSync(fd, unaligned, 1) }); res != -int32(unix.EINVAL) && res != block {
		t.Errorf("unaligned direct write: %d (%v)", res, errno(res))
	}
}

// Writes out of and reads into registered buffers, anywhere inside them.
func TestRegisteredBuffers(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	fd := directFile(t)
	memory := anon(t, 4*block)
	buffers := [][]byte{memory[:2*block], memory[2*block:]}
	if err := r.RegisterBuffers(buffers); errors.Is(err, unix.ENOMEM) {
		t.Skip("may not lock memory: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := r.RegisterBuffers(buffers); err == nil {
		t.Error("buffers registered twice")
	}
	copy(buffers[0][block:], "second block of the first buffer")
	c.must(t, r, block, func(s *SQE) { s.PrepWriteFixedDSync(fd, buffers[0][block:], 0, 0) })
	c.must(t, r, block, func(s *SQE) { s.PrepReadFixed(fd, buffers[1][:block], 0, 1) })
	if !bytes.Equal(buffers[0][block:], buffers[1][:block]) {
		t.Errorf("read back %q", buffers[1][:32])
	}
	c.must(t, r, -int32(unix.EFAULT), func(s *SQE) { s.PrepReadFixed(fd, buffers[0][:block], 0, 1) })
}

func TestBufferedReadAndWrite(t *testing.T) {
	r := newRing(t, Config{Entries: 8})
	c := collect(r)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fd := int(f.Fd())
	text := anonString(t, "some text")
	c.must(t, r, 9, func(s *SQE) { s.PrepWrite(fd, text, 100) })
	c.must(t, r, 9, func(s *SQE) { s.PrepWriteDSync(fd, text, 109) })
	back := anon(t, 64)
	c.must(t, r, 18, func(s *SQE) { s.PrepRead(fd, back, 100) })
	if string(back[:18]) != "some textsome text" {
		t.Errorf("read %q", back[:18])
	}
	c.must(t, r, 0, func(s *SQE) { s.PrepRead(fd, back, 118) })
}
