package peers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests start this very test binary as the server, with a role in its
// environment.
const roleVariable = "PEERS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "fail":
		fmt.Println("no such option")
		os.Exit(3)
	case "serve":
		if err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})); err != nil {
			os.Exit(1)
		}
	}
}

// fake is a Spec for this binary in a role.
func fake(t *testing.T, role string) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: "fake", Addr: addr, Argv: []string{self, addr}, Env: []string{roleVariable + "=" + role}, Ready: httpReady}
}

func TestStartAndEnd(t *testing.T) {
	for name, end := range map[string]func(*Process) error{"stop": (*Process).Stop, "kill": (*Process).Kill} {
		p, err := Start(context.Background(), fake(t, "serve"), t.TempDir())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.PID() <= 0 || httpReady(p.Addr) != nil {
			t.Errorf("%s: not serving", name)
		}
		if err := end(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if httpReady(p.Addr) == nil {
			t.Errorf("%s: still serving", name)
		}
		if err := end(p); err != nil {
			t.Errorf("%s twice: %v", name, err)
		}
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(context.Background(), fake(t, "fail"), dir)
	if err == nil || !strings.Contains(err.Error(), "ended before") {
		t.Errorf("error %v, want that it ended", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "fake.log"))
	if err != nil || !strings.Contains(string(text), "no such option") {
		t.Errorf("log %q, %v", text, err)
	}
	missing := fake(t, "serve")
	missing.Argv[0] = filepath.Join(dir, "missing")
	if _, err := Start(context.Background(), missing, dir); err == nil {
		t.Error("a missing program was started")
	}
	if _, err := Start(context.Background(), fake(t, "serve"), filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing log directory is no error")
	}
}

func TestStartGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := fake(t, "serve")
	s.Ready = func(string) error { return os.ErrDeadlineExceeded }
	if _, err := Start(ctx, s, t.TempDir()); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("error %v", err)
	}
}

func TestArguments(t *testing.T) {
	a := Ayder("ayder-evio", "bin/ayder", "127.0.0.1:7", "data", "--backend", "evio")
	if got := strings.Join(a.Argv, " "); got != "bin/ayder serve --data-dir data --listen 127.0.0.1:7 --backend evio" {
		t.Errorf("ayder: %s", got)
	}
	r, err := Redis("redis-server", "127.0.0.1:8", "dir")
	if got := strings.Join(r.Argv, " "); err != nil || !strings.Contains(got, "--port 8") || !strings.Contains(got, "--appendfsync always") {
		t.Errorf("redis: %s, %v", got, err)
	}
	f, err := Floor("floor", "127.0.0.1:9", "dir", 1024)
	if got := strings.Join(f.Argv, " "); err != nil || got != "floor 9 2 dir/floor.log 1024" {
		t.Errorf("floor: %s, %v", got, err)
	}
	dir := t.TempDir()
	n, err := NATS("nats-server", "127.0.0.1:10", dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(n.Argv[2])
	if err != nil || !strings.Contains(string(text), "sync_interval: always") || !strings.Contains(string(text), "127.0.0.1:10") {
		t.Errorf("nats: %s, %v", text, err)
	}
	if _, err := NATS("nats-server", "127.0.0.1:10", filepath.Join(dir, "missing")); err == nil {
		t.Error("nats: a missing directory is no error")
	}
	if _, err := Redis("redis-server", "no port", "dir"); err == nil {
		t.Error("redis: an address without a port is no error")
	}
	if _, err := Floor("floor", "no port", "dir", 1); err == nil {
		t.Error("floor: an address without a port is no error")
	}
}

func TestReadyAnswers(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer busy.Close()
	if err := httpReady(strings.TrimPrefix(busy.URL, "http://")); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a server in recovery: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			s, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(s, "INFO {}\r\n")
			s.Close()
		}
	}()
	addr := l.Addr().String()
	if err := natsReady(addr); err != nil {
		t.Errorf("nats: %v", err)
	}
	if redisReady(addr) == nil {
		t.Error("redis: INFO is no PONG")
	}
	if err := connects(addr); err != nil {
		t.Errorf("floor: %v", err)
	}
	l.Close()
	if connects(addr) == nil || natsReady(addr) == nil || httpReady(addr) == nil {
		t.Error("a closed port is ready")
	}
}

// TestRealRedis runs where Redis is installed.
func TestRealRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server here")
	}
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Redis(binary, addr, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(context.Background(), s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}
