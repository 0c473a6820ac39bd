package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"ayder/bench/result"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// The followers: their sockets are taken from the runtime's poller and read by one thread.
//
// Of the bytes only two things are looked for: "\nid: N\n", which must be the next offset, and the value that follows. An
// event that a read has cut in two is kept until the rest is there. Chunk sizes stand between events or inside them, on
// lines of their own, and are passed over as lines that are not known.

// followers is all streams.
type followers struct {
	epoll   int
	zero    time.Time
	all     map[int32]*followed
	latency *hdrhistogram.Histogram
	events  int64
}

// followed is one stream.
type followed struct {
	fd   int
	next int64
	rest []byte // the beginning of an event that is not complete
}

// fanOut measures deliveries.
func fanOut(c *config, got figures) error {
	topic, err := c.newTopic()
	if err != nil {
		return err
	}
	f := &followers{zero: time.Now(), all: map[int32]*followed{}, latency: newHistogram()}
	if f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(f.epoll)
	for range c.followers {
		if err := f.open(c, topic); err != nil {
			return err
		}
	}
	count := c.rate * c.seconds
	produced, acked := make(chan error, 1), newHistogram()
	go func() { produced <- c.produceAt(topic, f.zero, count, acked) }()
	if err := f.read(int64(count)*int64(c.followers), produced); err != nil {
		return err
	}
	got["load"], got["delivery"] = result.Of(acked), result.Of(f.latency)
	return nil
}

// open asks for a stream and waits for its head.
func (f *followers) open(c *config, topic string) error {
	k, err := c.dial()
	if err != nil {
		return err
	}
	k.header += "Accept: text/event-stream\r\n"
	if err := k.get("/broker/consume/" + topic + "/live/0?offset=0"); err != nil {
		return err
	}
	for line := "-"; line != "\r\n"; {
		if line, err = k.r.ReadString('\n'); err != nil {
			return err
		}
	}
	file, err := k.conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_, _ = file.Close(), k.conn.Close()
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	rest, _ := k.r.Peek(k.r.Buffered())
	f.all[int32(fd)] = &followed{fd: fd, rest: bytes.Clone(rest)}
	return unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// read reads until want events have come and the producer has ended.
func (f *followers) read(want int64, produced <-chan error) error {
	events := make([]unix.EpollEvent, 1024)
	buf := make([]byte, 256<<10)
	last := time.Now()
	for f.events < want || produced != nil {
		select {
		case err := <-produced:
			if err != nil {
				return err
			}
			produced = nil
		default:
		}
		n, err := unix.EpollWait(f.epoll, events, 100)
		if err != nil && err != syscall.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		if n > 0 {
			last = time.Now()
		} else if time.Since(last) > answerWait {
			return fmt.Errorf("%d events of %d came", f.events, want)
		}
		for i := range max(n, 0) {
			if err := f.drain(f.all[events[i].Fd], buf); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain reads what there is for one follower.
func (f *followers) drain(s *followed, buf []byte) error {
	n := copy(buf, s.rest)
	got, err := unix.Read(s.fd, buf[n:])
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return nil
	}
	if err != nil || got == 0 {
		return fmt.Errorf("a stream ended behind offset %d: %w", s.next, err)
	}
	left, err := f.take(s, buf[:n+got], time.Since(f.zero))
	s.rest = append(s.rest[:0], left...)
	return err
}

var (
	idField    = []byte("\nid: ")
	valueField = []byte(`"value":"`)
)

// take counts the complete events in b and returns what is left.
func (f *followers) take(s *followed, b []byte, now time.Duration) ([]byte, error) {
	for {
		at := bytes.Index(b, idField)
		if at < 0 {
			return b[max(len(b)-len(idField), 0):], nil
		}
		value := bytes.Index(b[at:], valueField)
		if value < 0 || at+value+len(valueField)+stampBytes > len(b) {
			return b[at:], nil
		}
		id := b[at+len(idField):]
		offset, err := strconv.ParseInt(string(id[:bytes.IndexByte(id, '\n')]), 10, 64)
		if err != nil || offset != s.next {
			return nil, fmt.Errorf("offset %d instead of %d: %w", offset, s.next, err)
		}
		text := b[at+value+len(valueField):][:stampBytes]
		due, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return nil, err
		}
		record(f.latency, now-time.Duration(due))
		s.next++
		f.events++
		b = b[at+value+len(valueField)+stampBytes:]
	}
}
