//go:build !linux

package proc

import "os/exec"

// spawn is cmd.Start: without a death signal a test run that is cut off may leave a server behind.
func spawn(cmd *exec.Cmd) error { return cmd.Start() }
