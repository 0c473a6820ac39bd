//go:build !linux

package main

import "errors"

// The loop needs io_uring or epoll. A portable fallback on goroutines was rejected: it would
// cost more than the servers it measures and its figures would mean nothing.

var errNeedsLinux = errors.New("ayder-bench measures on Linux only: it needs io_uring or epoll_pwait2")

type loop struct{}

func newLoop(*config, dialect) (*loop, error) { return nil, errNeedsLinux }
func (*loop) run(pacer, *recorder) error      { return errNeedsLinux }
func (*loop) clock() int64                    { return 0 }
func (*loop) close()                          {}
func (*loop) engine() string                  { return "" }
