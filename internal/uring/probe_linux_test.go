package uring

import "testing"

func TestProbeAgreesWithNew(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip("no io_uring here: ", err)
	}
	newRing(t, Config{Entries: 8})
}
