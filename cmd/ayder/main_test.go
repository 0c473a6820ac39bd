package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// The tests of this package are about the program: they build it, start it and talk to it over
// sockets. What a function does by itself is tested beside the function. None of them measures
// speed; figures that matter, of memory above all, are printed.
//
// AYDER_BIG=1 runs the tests of size in full: gigabytes on disk, millions of messages, minutes.

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	os.Exit(proc.Main(m))
}

// atOnce is how many parallel tests run at least: they wait for elections, disks and clocks more than they work.
const atOnce = 4

// full tells that the tests of size are to be run in full.
func full() bool { return os.Getenv("AYDER_BIG") == "1" }

// scale is one of three sizes: in full, usual, and with -short.
func scale[T any](large, usual, short T) T {
	switch {
	case full():
		return large
	case testing.Short():
		return short
	}
	return usual
}

// eachBackend runs a test once for every backend that works here.
func eachBackend(t *testing.T, test func(t *testing.T, o proc.Options)) {
	t.Helper()
	for _, b := range proc.Backends(t) {
		t.Run(b, func(t *testing.T) { test(t, proc.Options{Backend: b}) })
	}
}

// eachBackendAtOnce is eachBackend for tests that mostly wait: the backends run side by side.
func eachBackendAtOnce(t *testing.T, test func(t *testing.T, o proc.Options)) {
	t.Helper()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		t.Parallel()
		test(t, o)
	})
}

// ayder runs the program to its end and returns what it printed and its exit status.
func ayder(t *testing.T, env []string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), proc.Binary(t), args...)
	cmd.Env = append(proc.Environment(), env...)
	cmd.Dir = t.TempDir() // ./data is where the program would write by default
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// mustProduce appends a message and insists that it is durable.
func mustProduce(t *testing.T, c *proc.Client, topic string, partition int, body []byte) proc.Append {
	t.Helper()
	a, err := c.Produce(topic, partition, body)
	if err != nil {
		t.Fatal(err)
	}
	if !a.OK || !a.Durable || a.Synced == nil || !*a.Synced {
		t.Fatalf("not durable: %+v", a)
	}
	return a
}

// mustFind reads one message and compares it.
func mustFind(t *testing.T, c *proc.Client, topic string, partition int, offset uint64, want []byte) {
	t.Helper()
	p, err := c.Consume(topic, partition, offset, "&limit=1&max_bytes=16777216")
	if err != nil {
		t.Fatal(err)
	}
	if p.Count != 1 || p.Messages[0].Offset != offset || !bytes.Equal(p.Messages[0].ValueB64, want) {
		t.Fatalf("at offset %d of %s/%d is not what was produced: count %d, next %d", offset, topic, partition, p.Count, p.Next)
	}
}

// mustServe shows that the server still answers and still stores.
func mustServe(t *testing.T, s *proc.Server) {
	t.Helper()
	c := s.Connect(t)
	body := []byte("still here")
	a := mustProduce(t, c, "alive", 0, body)
	mustFind(t, c, "alive", 0, a.Offset, body)
}

// mustStop stops a server as an operator would.
func mustStop(t *testing.T, s *proc.Server) {
	t.Helper()
	code, err := s.Terminate(proc.HangGuard)
	if err != nil || code != 0 {
		t.Fatalf("SIGTERM: exit status %d, %v\n%s", code, err, s.Log())
	}
}

// mustKill ends a server with SIGKILL.
func mustKill(t *testing.T, s *proc.Server) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
}

// keptUp is a server that is started again, and asked again, when it was killed.
type keptUp struct {
	*proc.Server
	t      *testing.T
	c      *proc.Client
	header string // of every request, behind the usual one
}

func keepUp(t *testing.T, o proc.Options, header string) *keptUp {
	t.Helper()
	k := &keptUp{Server: proc.Run(t, o), t: t, header: header}
	k.connect()
	return k
}

func (k *keptUp) connect() {
	k.c = k.Connect(k.t)
	k.c.Header += k.header
}

func (k *keptUp) ask(method, target string, body []byte) proc.Response {
	for {
		r, err := k.c.Do(method, target, body)
		if err == nil {
			return r
		}
		if k.Alive() {
			k.t.Fatal(err)
		}
		k.Server = k.Again(k.t)
		k.connect()
	}
}

// counted is a message whose bytes follow from its number.
func counted(number, size int) []byte {
	b := fmt.Appendf(nil, "message %d ", number)
	return append(b, strings.Repeat(string(rune('a'+number%26)), max(0, size-len(b)))...)
}
