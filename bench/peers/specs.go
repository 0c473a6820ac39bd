package peers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// How each server is started. All of them answer a write after it is synced, on
// the same disk, and each is left at its defaults otherwise, with one exception in
// its favour that is named where it is made.

// askMax bounds one question of a Ready.
const askMax = time.Second

// Ayder is the server under test. Its environment is bare, so it runs in dev mode:
// loopback only, token "dev".
func Ayder(name, binary, addr, dir string, flags ...string) Spec {
	argv := append([]string{binary, "serve", "--data-dir", dir, "--listen", addr}, flags...)
	return Spec{Name: name, Addr: addr, Argv: argv, Ready: httpReady}
}

// NetHTTP is the comparison server for pages.
func NetHTTP(binary, addr string) Spec {
	return Spec{Name: "nethttp", Addr: addr, Argv: []string{binary, "-listen", addr}, Ready: httpReady}
}

// Redis syncs its append-only file before every answer. Rewriting that file in the
// background is switched off: it would start in the middle of a run and slow it.
func Redis(binary, addr, dir string) (Spec, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Spec{}, fmt.Errorf("redis: %w", err)
	}
	return Spec{Name: "redis", Addr: addr, Argv: []string{
		binary, "--bind", host, "--port", port, "--dir", dir, "--save", "", "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0",
	}, Ready: redisReady}, nil
}

// NATS is a JetStream server that syncs every message.
func NATS(binary, addr, dir string) (Spec, error) {
	file := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\njetstream {\n  store_dir: %q\n  sync_interval: always\n}\n", addr, filepath.Join(dir, "store"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return Spec{}, fmt.Errorf("nats: %w", err)
	}
	return Spec{Name: "nats", Addr: addr, Argv: []string{binary, "-c", file}, Ready: natsReady}, nil
}

// Floor is the least that a durable HTTP append can cost: a C program that groups
// commits into a file of zeros (mode 2), mib MiB of them.
func Floor(binary, addr, dir string, mib int) (Spec, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Spec{}, fmt.Errorf("floor: %w", err)
	}
	argv := []string{binary, port, "2", filepath.Join(dir, "floor.log"), strconv.Itoa(mib)}
	return Spec{Name: "floor", Addr: addr, Argv: argv, Ready: connects}, nil
}

// httpReady wants 200 from GET /ready.
func httpReady(addr string) error { return httpOK(addr, "/ready") }

// httpOK wants 200 from a GET.
func httpOK(addr, path string) error {
	client := http.Client{Timeout: askMax, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + addr + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, r.Status)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	return err
}

// redisReady wants a PONG.
func redisReady(addr string) error { return asks(addr, "PING\r\n", "+PONG") }

// natsReady wants the greeting.
func natsReady(addr string) error { return asks(addr, "", "INFO ") }

// asks sends a line and wants an answer that begins with want.
func asks(addr, line, want string) error {
	s, err := net.DialTimeout("tcp", addr, askMax)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(askMax)); err != nil {
		return err
	}
	if _, err := io.WriteString(s, line); err != nil {
		return err
	}
	got, err := bufio.NewReader(s).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(got, want) {
		return fmt.Errorf("%s answers %q", addr, got)
	}
	return nil
}

// connects wants an open port.
func connects(addr string) error {
	s, err := net.DialTimeout("tcp", addr, askMax)
	if err != nil {
		return err
	}
	return s.Close()
}
