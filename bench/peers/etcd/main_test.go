package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ayder/bench/result"
)

func TestParse(t *testing.T) {
	c, err := parse([]string{"-addr", "a:1,b:2", "-pid", "7,8", "-c", "3", "-d", "1s"}, io.Discard)
	if err != nil || len(c.addrs) != 2 || !slices.Equal(c.pids, []int{7, 8}) || c.connections != 3 || c.size != 64 {
		t.Errorf("%+v, %v", c, err)
	}
	if !slices.Equal(c.leaderFirst(1), []int{8, 7}) {
		t.Errorf("processes %v", c.leaderFirst(1))
	}
	if c, err = parse(nil, io.Discard); err != nil || len(c.addrs) != 1 || c.leaderFirst(0) != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for _, args := range [][]string{
		{"-pid", "7,8"}, {"-pid", "x"}, {"-c", "0"}, {"-c", "1000000"}, {"-size", "-1"}, {"-d", "0s"}, {"-nonsense"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// memory is a putter without a server; every tenth put fails.
type memory struct {
	mu     sync.Mutex
	keys   map[string]bool
	bytes  int
	closed int
}

func (m *memory) Put(_ context.Context, key, value string, _ ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[key], m.bytes = true, m.bytes+len(value)
	if len(m.keys)%10 == 0 {
		return nil, errors.New("refused\nat length")
	}
	if len(m.keys)%11 == 0 {
		return nil, fmt.Errorf("late: %w", context.DeadlineExceeded)
	}
	time.Sleep(100 * time.Microsecond)
	return nil, nil
}

func (m *memory) Close() error { m.closed++; return nil }

func TestClosedLoop(t *testing.T) {
	m := &memory{keys: map[string]bool{}}
	l := &load{putters: []putter{m, m, m}, value: "12345678"}
	all := l.phase(context.Background(), 50*time.Millisecond)
	r := all.result(&config{connections: 3})
	if int(r.Requests+r.ErrorCount()) != len(m.keys) || m.bytes != 8*len(m.keys) {
		t.Errorf("%d answered and %v of %d different keys, %d bytes", r.Requests, r.Errors, len(m.keys), m.bytes)
	}
	if r.Errors["refused"] == 0 || r.Errors["unanswered"] == 0 || r.Latency.P50 < 50 || r.Latency.Max < r.Latency.P50 || r.RequestsPerS <= 0 {
		t.Errorf("%+v", r)
	}
	before := len(m.keys)
	if l.phase(context.Background(), time.Nanosecond); len(m.keys) != before+3 {
		t.Errorf("%d puts of three clients without time", len(m.keys)-before)
	}
	if l.close(); m.closed != 3 {
		t.Errorf("%d connections closed", m.closed)
	}
}

func TestNobodyThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := run(ctx, []string{"-addr", "127.0.0.1:1"}, io.Discard, io.Discard); err == nil {
		t.Error("a run without a server")
	}
}

// TestRealServer puts into one member, if its program can be built here.
func TestRealServer(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "etcd")
	if text, err := exec.Command("go", "build", "-o", program, "go.etcd.io/etcd/server/v3").CombinedOutput(); err != nil {
		t.Skipf("no etcd: %v\n%s", err, text)
	}
	client, peer := "http://"+freeAddr(t), "http://"+freeAddr(t)
	server := exec.Command(
		program, "--name", "n1", "--data-dir", filepath.Join(dir, "data"), "--log-level", "error",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "n1="+peer,
	)
	server.Stdout, server.Stderr = os.Stderr, os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	var out bytes.Buffer
	args := []string{"-addr", client[len("http://"):], "-pid", strconv.Itoa(server.Process.Pid), "-c", "2", "-d", "100ms", "-warmup", "1ms"}
	if err := run(context.Background(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r result.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Requests == 0 || r.ErrorCount() > 0 || r.Server == nil || r.LeaderMoved || r.Leader == "" {
		t.Errorf("%s", out.Bytes())
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
