//go:build !linux

package proc

import "errors"

// DiskTools tells why disks cannot be made here: loop devices are Linux's.
func DiskTools(...string) error { return errors.New("loop-mounted disks need Linux") }
