package main

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAgainstTheProduct measures the product as it is built here, in the shortest form. What is measured is not looked at.
func TestAgainstTheProduct(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the product")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "ayder")
	if text, err := exec.Command("go", "build", "-o", bin, "../../cmd/ayder").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	server := exec.Command(bin, "--listen", addr, "--data-dir", filepath.Join(dir, "data"))
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = server.Process.Kill(), server.Wait() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not listen")
		}
	}
	var out, errs bytes.Buffer
	if code := run([]string{"-addr", addr, "-followers", "20", "-rate", "200", "-seconds", "1", "-wakes", "20"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	for _, want := range []string{"load      n 200 ", "delivery  n 4000 ", "produce   n 20 ", "wake-up   n 20 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestTakeEventsInPieces: however reads cut the events, each is counted once; a gap and a repetition are found.
func TestTakeEventsInPieces(t *testing.T) {
	text := func(offsets ...int) (b []byte) {
		b = append(b, "d\r\nretry: 1000\n\n\r\n"...)
		value := bytes.Repeat([]byte{'x'}, 30)
		stamp(value, 12345*time.Microsecond)
		for _, n := range offsets {
			b = fmt.Appendf(b, "4f\r\nid: %d\ndata: {\"offset\":%d,\"value\":\"%s\"}\n\n\r\n", n, n, value)
		}
		return b
	}
	feed := func(all []byte, size int) (int64, error) {
		f := &followers{latency: newHistogram()}
		s := &followed{}
		for len(all) > 0 {
			n := min(size, len(all))
			left, err := f.take(s, append(bytes.Clone(s.rest), all[:n]...), time.Second)
			if err != nil {
				return f.events, err
			}
			s.rest, all = append(s.rest[:0], left...), all[n:]
		}
		return f.events, nil
	}
	for size := 1; size < 300; size++ {
		if n, err := feed(text(0, 1, 2, 3), size); n != 4 || err != nil {
			t.Fatalf("pieces of %d: %d events, %v", size, n, err)
		}
	}
	for _, bad := range [][]int{{1}, {0, 2}, {0, 0}} {
		if _, err := feed(text(bad...), 1000); err == nil {
			t.Errorf("offsets %v pass", bad)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-size", "19"}, {"-rate", "0"}, {"-followers", "-1"}, {"-no"}} {
		if code := run(args, &bytes.Buffer{}, &bytes.Buffer{}); code == 0 {
			t.Errorf("%v is accepted", args)
		}
	}
}
