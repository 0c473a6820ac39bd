package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ayder/internal/testkit/proc"
)

// powerLoss shuts the file system down under the server. The process is still there and must behave:
// writes are refused with storage_failed for good, /ready says so, messages in memory can still be
// read. Then it is killed, or stopped with SIGTERM in every other round, and the disk is mounted again.
type powerLoss struct{ disk *proc.Disk }

func newPowerLoss(work string) (blow, error) {
	if err := proc.DiskTools("xfs_io"); err != nil {
		return nil, fmt.Errorf("mode fs is not possible here: %w", err)
	}
	dir, err := os.MkdirTemp(work, "disk-")
	if err != nil {
		return nil, err
	}
	d, err := proc.NewDisk(dir, diskBytes)
	return powerLoss{d}, err
}

func (powerLoss) name() string      { return "file system shut down" }
func (p powerLoss) dataDir() string { return filepath.Join(p.disk.Mount, "data") }
func (p powerLoss) close() error    { return p.disk.Unmount() }

// strike flushes the journal in every third round before it stops the file system.
func (p powerLoss) strike(s *proc.Server, round int) error {
	err := p.disk.Shutdown(round%3 == 2)
	if err == nil {
		err = refusesWrites(s)
	}
	if round%2 == 1 {
		if _, termErr := s.Terminate(proc.HangGuard); termErr != nil {
			err = errors.Join(err, termErr)
		}
	}
	return errors.Join(err, s.Kill(), p.disk.Remount())
}

// refusesWrites checks what a server without a disk answers.
func refusesWrites(s *proc.Server) error {
	c, err := proc.Dial(s.Addr)
	if err != nil {
		return fmt.Errorf("after the shutdown: %w", err)
	}
	defer c.Close()
	for began := time.Now(); ; {
		r, err := c.Post("/broker/topics/probe/produce?partition=0", []byte("x"))
		if err != nil {
			return fmt.Errorf("produce after the shutdown: %w", err)
		}
		if r.Status == 500 && r.ErrorCode() == "storage_failed" {
			break
		}
		if r.Status == 200 || time.Since(began) > proc.HangGuard {
			return fmt.Errorf("produce after the shutdown of the file system: %s", r.String())
		}
	}
	return unready(c)
}

// unready checks that /ready says no and that reading goes on.
func unready(c *proc.Client) error {
	r, err := c.Get("/ready")
	if err != nil {
		return err
	}
	if r.Status != 503 {
		return fmt.Errorf("/ready after the shutdown: %s", r.String())
	}
	r, err = c.Get("/broker/consume/" + topic + "/" + group + "/0?offset=latest")
	if err != nil {
		return err
	}
	if r.Status != 200 {
		return fmt.Errorf("consume after the shutdown: %s", r.String())
	}
	return nil
}
