//go:build !linux

package main

import "errors"

// disks slows the nodes' disks, which is possible on Linux only.
type disks struct{}

func newDisks(string, int) (*disks, error) {
	return nil, errors.New("disks can be slowed down on Linux only")
}

func (*disks) join(int, int) error  { return nil }
func (*disks) limit(int, int) error { return nil }
func (*disks) close() error         { return nil }
