package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// A slow disk is a real one: every node is in a control group of its own, and the kernel lets a group do only so
// many writes a second to the device that holds the data. The servers write past the page cache, so
// that is what their commits wait for; nothing in the program under test takes part. Version 1 of the control
// groups (blkio.throttle) and version 2 (io.max) are known; see cgroup-v1/blkio-controller and cgroup-v2 in the
// kernel's documentation.

// disks slows the nodes' disks.
type disks struct {
	groups []string // directory of each node's group
	device string   // major:minor
	v2     bool
}

// newDisks makes a group for each node. dir is where the data will be.
func newDisks(dir string, nodes int) (*disks, error) {
	return newDisksBelow("/sys/fs/cgroup", dir, nodes)
}

func newDisksBelow(root, dir string, nodes int) (*disks, error) {
	device, err := deviceOf(dir)
	if err != nil {
		return nil, err
	}
	d := &disks{device: device}
	parent := filepath.Join(root, "blkio")
	if _, err := os.Stat(filepath.Join(parent, "blkio.throttle.write_iops_device")); err != nil {
		parent, d.v2 = root, true
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+io"), 0o644); err != nil {
			return nil, fmt.Errorf("no control group can slow a disk down here: %w", err)
		}
	}
	for i := range nodes {
		group := filepath.Join(parent, fmt.Sprintf("histcheck-%d-%d", os.Getpid(), i+1))
		if err := os.Mkdir(group, 0o755); err != nil {
			return nil, errors.Join(err, d.close())
		}
		d.groups = append(d.groups, group)
	}
	return d, nil
}

// deviceOf is the whole disk that holds dir: limits are kept by disks, not by partitions.
func deviceOf(dir string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("stat %s: %w", dir, err)
	}
	major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00
	number := fmt.Sprintf("%d:%d", major, minor)
	sys, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return "", fmt.Errorf("%s is not on a disk that could be slow: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
		sys = filepath.Dir(sys)
	}
	text, err := os.ReadFile(filepath.Join(sys, "dev"))
	if err != nil {
		return "", err
	}
	return string(text[:len(text)-1]), nil
}

// join puts a process into a node's group.
func (d *disks) join(node, pid int) error {
	return os.WriteFile(filepath.Join(d.groups[node], "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// limit sets how many writes a second a node's disk takes; 0: as many as it can.
func (d *disks) limit(node, writes int) error {
	name, text := "blkio.throttle.write_iops_device", fmt.Sprintf("%s %d", d.device, writes)
	if d.v2 {
		name, text = "io.max", d.device+" wiops=max"
		if writes > 0 {
			text = fmt.Sprintf("%s wiops=%d", d.device, writes)
		}
	}
	return os.WriteFile(filepath.Join(d.groups[node], name), []byte(text), 0o644)
}

// close removes the groups; their processes have ended.
func (d *disks) close() error {
	var errs []error
	for _, g := range d.groups {
		errs = append(errs, retry(func() error { return os.Remove(g) }))
	}
	return errors.Join(errs...)
}
