package uring

import "time"

const (
	// EntriesDefault is the size of the submission queue, in entries of 64 bytes, when Config does not say.
	EntriesDefault = 4096
	// EntriesMax is the kernel's limit for the submission queue; its limit for completions is twice that.
	EntriesMax = 1 << 15
	// CQEntriesPerEntry sizes the completion queue (entries of 16 bytes) from the submission queue when Config does
	// not say. Multishot requests complete many times per submission, so the kernel's own factor of 2 is too small.
	CQEntriesPerEntry = 4
	// KindsMax is how many completion handlers one ring can have; kind 0 stays free for "nobody wants to know".
	KindsMax = 255
	// PayloadBits of the user data are the handler's own.
	PayloadBits = 56
	// BufRingEntriesMax is the kernel's limit for one ring of provided buffers, in buffers.
	BufRingEntriesMax = 1 << 15
	// RefusedPause bounds the sleep after the kernel refused entries for want of memory or of completion space.
	RefusedPause = time.Millisecond
	// CancelTimeout bounds how long Close waits for the kernel to let go of requests that are still running.
	CancelTimeout = 2 * time.Second
)
