package main

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// A server without a terminal, whose output nobody reads any more, goes on.
func TestNobodyReadsTheLog(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := withBinary(t, proc.Options{})
	o.Port = freePort(t)
	cmd := exec.Command(o.Bin, "serve", "--data-dir", o.Dir, "--listen", "127.0.0.1:"+strconv.Itoa(o.Port), "--log-level", "debug")
	cmd.Env = proc.Environment()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended already if the test failed
		_ = cmd.Wait()
	})
	if _, err := r.Read(make([]byte, 1)); err != nil { // it has begun to speak
		t.Fatal(err)
	}
	if r.Close() != nil || w.Close() != nil {
		t.Fatal("close")
	}
	addr := "127.0.0.1:" + strconv.Itoa(o.Port)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := proc.Dial(addr)
		if err == nil {
			mustProduce(t, c, "quiet", 0, []byte("x"))
			c.Close()
			return
		}
		if time.Since(began) > proc.HangGuard || !alive(cmd.Process.Pid) {
			t.Fatal("the server does not serve: ", err)
		}
	}
}
