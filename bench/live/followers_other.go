//go:build !linux

package main

import (
	"errors"
	"io"
)

func fanOut(*config, io.Writer) error { return errors.New("the fan-out needs Linux: use -followers 0") }
