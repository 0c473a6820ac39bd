//go:build !linux

package uring

import "fmt"

// Ring exists so that code which only passes one along builds everywhere; there is no way to make one here.
type Ring struct{}

// Probe says that there is no io_uring on this system.
func Probe() error { return fmt.Errorf("%w: io_uring needs Linux", ErrUnsupported) }

// Implementation says that nothing is built in.
func Implementation() string { return "none" }
