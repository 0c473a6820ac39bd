package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// A server that has just started, or has just been under load, goes on for a while: ayder fills spare segments with
// zeros, etcd allocates the next files of its log. On a shared disk that is the next measurement's noise. So each one
// begins when the server's files are at rest.

const (
	restMax  = 60 * time.Second // then it is measured as it is, and the log says so
	restStep = 100 * time.Millisecond
)

// settle waits until nothing below dir has changed for a while, and ayder has no spare segment half made.
func (l *lab) settle(dir string) error {
	if l.calm <= 0 {
		return nil
	}
	before, since := "", time.Now()
	for begin := since; time.Since(begin) < restMax; time.Sleep(restStep) {
		now, busy, err := filesOf(dir)
		switch {
		case err != nil:
			return fmt.Errorf("wait for rest: %w", err)
		case l.ctx.Err() != nil:
			return l.ctx.Err()
		case busy || now != before:
			before, since = now, time.Now()
		case time.Since(since) >= l.calm:
			return nil
		}
	}
	fmt.Fprintf(l.log, "%s does not come to rest within %v\n", dir, restMax)
	return nil
}

// filesOf tells every file's name, size and time of change, and whether a spare segment is being made.
func filesOf(dir string) (text string, busy bool, err error) {
	var b strings.Builder
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreMissing(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		made, _ := filepath.Match("spare-*.tmp", entry.Name())
		busy = busy || made
		fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return b.String(), busy, err
}

// ignoreMissing passes over a file that was renamed or removed meanwhile.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
