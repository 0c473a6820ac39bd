package api

import (
	"bytes"
	"net"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ayder/aof"
	"ayder/internal/auth"
	"ayder/internal/record"
	"ayder/internal/uring"
	"ayder/netpoll"
)

// The promise that a produce allocates nothing, kept over the whole way: sockets and log on one
// io_uring, the real log on a real file system, and a client that makes system calls on memory it
// has had since before. What is counted is the whole process.

// diskLog gives every loop a writer of a real log on the loop's own ring.
func diskLog(t *testing.T) func(*Options) {
	t.Helper()
	log, err := aof.Open(aof.Options{Dir: t.TempDir()}, func(record.Frame) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(o *Options) {
		o.NewReader = func() Reader { return diskReader{log.NewReader()} }
		o.OpenLog = func(l *netpoll.Loop, wake func()) (Log, error) {
			return diskWriter{log.NewWriter(aof.NewRingSubmitter(l.Ring()), wake)}, nil
		}
	}
}

type diskWriter struct{ *aof.Writer }

// Admit translates the one error that a healthy disk can cause.
func (w diskWriter) Admit() error {
	if err := w.Writer.Admit(); err != aof.ErrBusy {
		return err
	}
	return ErrBusy
}

type diskReader struct{ *aof.Reader }

func (r diskReader) Read(s record.Stream, offset, end uint64, block bool, visit func(record.Section) bool) (uint64, error) {
	next, err := r.Reader.Read(s, offset, end, block, visit)
	if err == aof.ErrCold {
		err = ErrCold
	}
	return next, err
}

// rawClient is a set of connections that can be used without allocating.
type rawClient struct {
	t      *testing.T
	fds    []int
	buf    []byte
	answer []byte // the last one, in buf
}

func (f *fixture) rawClient(conns int) *rawClient {
	f.t.Helper()
	c := &rawClient{t: f.t, buf: make([]byte, 64<<10)}
	to := &unix.SockaddrInet4{Port: f.net.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for range conns {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, to)
		}
		if err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})
		}
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { _ = unix.Close(fd) })
		c.fds = append(c.fds, fd)
	}
	return c
}

var (
	bodyEnd = []byte("}")
	okLine  = []byte("HTTP/1.1 200 OK\r\n")
)

// warmUp has every batch of the loop grow to what it may hold, by as many large requests at once as fill
// them all. Later growth would be by chance: a batch holds what came while the disk was busy.
func (f *fixture) warmUp() {
	f.rawClient(8).round([]byte(post("/broker/topics/t/produce?partition=3", strings.Repeat("w", 600<<10))), 1)
}

// round sends the requests on every connection and takes as many answers, whose bodies all end in
// the only braces there are.
func (c *rawClient) round(request []byte, answers int) {
	for _, fd := range c.fds {
		for rest := request; len(rest) > 0; {
			n, err := unix.Write(fd, rest)
			if err != nil && err != unix.EINTR {
				c.t.Fatal("write: ", err)
			}
			rest = rest[max(n, 0):]
		}
	}
	for _, fd := range c.fds {
		n := 0
		for n == 0 || bytes.Count(c.buf[:n], bodyEnd) < answers {
			k, err := unix.Read(fd, c.buf[n:])
			if err == unix.EINTR {
				continue
			}
			if k <= 0 {
				c.t.Fatalf("read: %d %v after %q", k, err, c.buf[:n])
			}
			n += k
		}
		if c.answer = c.buf[:n]; bytes.Count(c.answer, okLine) != answers {
			c.t.Fatalf("%q", c.answer)
		}
	}
}

func TestProduceAllocatesNothing(t *testing.T) {
	if err := uring.Probe(); err != nil {
		t.Skip("io_uring cannot be used here: ", err)
	}
	tokens, err := auth.Parse("dev@read+write+admin;rate=1M/s;burst=1M;bytes=1G/s") // limits cost nothing either
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 64)
	packed := gzipped(t, value) // which is counted by its end, so it has to be without braces
	if strings.Contains(packed, "}") {
		t.Fatal("choose another body")
	}
	compressed := strings.Replace(post("/broker/topics/t/produce?partition=0", packed), "Host", "Content-Encoding: gzip\r\nHost", 1)
	keyed := strings.Replace(post("/broker/topics/t/produce?key=user%207&timing=1&ts_ms=5&concern=async", value), "Host", "X-Ayder-H-Trace: abc\r\nHost", 1)
	for _, tt := range []struct {
		name    string
		request string
		answers int
	}{
		{"plain", post("/broker/topics/t/produce?partition=0", value), 1},
		{"round robin", post("/broker/topics/t/produce", value), 1},
		{"all parameters", keyed, 1},
		{"not waiting", post("/broker/topics/t/produce?partition=0&timeout_ms=0", value), 1},
		{"waiting a little", post("/broker/topics/t/produce?partition=0&timeout_ms=60000", value), 1},
		{"pipelined", strings.Repeat(post("/broker/topics/t/produce?partition=0", value), 4), 4},
		{"ndjson", post("/broker/topics/t/produce-ndjson?partition=0", strings.Repeat(`[1,2,"three"]`+"\n", 10)), 1},
		{"gzip", compressed, 1},
		{"rocket", post("/broker/topics/r/produce?partition=0", value), 1},
		{"key-value put", strings.Replace(post("/kv/ns/user%2F7?concern=async&ttl_ms=86400000", value), "POST", "PUT", 1), 1},
		{"pipelined puts", strings.Repeat(post("/kv/ns/key", value), 4), 4},
		{"key-value get", post("/kv/ns/key", value) + get("/kv/ns/key"), 2},
		{"health", get("/health"), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, "uring", diskLog(t), func(o *Options) { o.Tokens = auth.NewHolder(tokens) })
			f.call("POST", "/broker/topics", `{"name":"t","partitions":4}`)
			f.call("POST", "/broker/topics", `{"name":"r","partitions":1,"mode":"rocket"}`)
			f.warmUp()
			c := f.rawClient(64)
			request := []byte(tt.request)
			requests := 6_000
			if tt.name == "plain" {
				requests = 20_000
			}
			rounds := requests / (len(c.fds) * tt.answers)
			for range rounds / 4 {
				c.round(request, tt.answers)
			}
			// What remains is the log's index, 16 bytes per commit in pieces of 8 KiB. How many requests share
			// a commit is the machine's business, so a commit for each must pass; an object for each cannot,
			// however small it is. Something may still grow once by chance, not three times.
			for try := 1; ; try++ {
				objects, size := c.measure(request, tt.answers, rounds)
				t.Logf("%.4f objects and %.2f bytes per request", objects, size)
				if objects < 0.01 && (size < 20 || tt.name == "rocket" && size < 160) { // there the message itself is counted
					return
				}
				if try == 3 {
					t.Fatalf("the last answer is %s", c.answer)
				}
			}
		})
	}
}

// measure returns what the process allocated per request.
func (c *rawClient) measure(request []byte, answers, rounds int) (objects, size float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		c.round(request, answers)
	}
	runtime.ReadMemStats(&after)
	n := float64(rounds * len(c.fds) * answers)
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n
}
