//go:build !linux

package uring

import (
	"errors"
	"testing"
)

func TestNothingElsewhere(t *testing.T) {
	if err := Probe(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("probe: %v", err)
	}
	if Implementation() != "none" {
		t.Errorf("implementation %q", Implementation())
	}
}
