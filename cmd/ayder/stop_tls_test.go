package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
	"ayder/tools/certs/authority"
)

// A stop, seen by clients that speak TLS and keep their connections: every request is answered, the last one with the word
// that it is, and then the connection ends as TLS wants it.
func TestStopOverTLS(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		dir, addr := t.TempDir(), freeAddr(t)
		issue(t, mustAuthority(t, dir), "server", time.Now().Add(-time.Hour), 24*time.Hour)
		o.Args = append(o.Args, "--tls-cert", authority.CertFile(dir, "server"), "--tls-key", authority.KeyFile(dir, "server"), "--tls-listen", addr)
		s := proc.Run(t, o)
		const clients = 4
		var running sync.WaitGroup
		begun := make(chan struct{}, 2*clients)
		for i := range clients {
			running.Go(func() {
				if err := produceOverTLS(addr, i, begun); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				begun <- struct{}{} // also when it has failed before
			})
		}
		for range clients {
			<-begun
		}
		if err := s.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		running.Wait()
		if code, err := s.Exit(proc.HangGuard); code != 0 || err != nil {
			t.Errorf("exit status %d, %v", code, err)
		}
	})
}

// produceOverTLS goes on until an answer says that it is the last, and then wants the end of the connection. It gives up when
// it cannot but have been too slow: silent for so long that the server may have taken it for idle.
func produceOverTLS(addr string, partition int, begun chan<- struct{}) error {
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(proc.HangGuard)); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	answered := time.Now()
	for number := 0; ; number++ {
		_, err := fmt.Fprintf(c, "POST /broker/topics/tls/produce?partition=%d HTTP/1.1\r\nHost: x\r\n%sContent-Length: 1\r\n\r\nx", partition, proc.DevToken)
		silent := time.Since(answered)
		var answer *http.Response
		if err == nil {
			answer, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			if silent > inUse {
				return nil
			}
			return fmt.Errorf("request %d, after %v: %w", number, silent, err)
		}
		answered = time.Now()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != 200 {
			return fmt.Errorf("request %d: %s, %w", number, answer.Status, err)
		}
		if answer.Close {
			if _, err := r.ReadByte(); err != io.EOF {
				return fmt.Errorf("after the last answer: %w", err)
			}
			return nil
		}
		if number == 20 {
			begun <- struct{}{}
		}
	}
}
