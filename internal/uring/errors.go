package uring

import "errors"

var (
	// ErrUnsupported is in every error of Probe: io_uring cannot be used here, the text says why and what would help.
	ErrUnsupported = errors.New("io_uring unavailable")
	// ErrClosed is returned by a Ring after Close.
	ErrClosed = errors.New("uring: ring is closed")
)
