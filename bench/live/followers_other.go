//go:build !linux

package main

import "errors"

func fanOut(*config, figures) error { return errors.New("the fan-out needs Linux: use -followers 0") }
