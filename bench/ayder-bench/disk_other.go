//go:build !linux

package main

func measureDisk(*config) (*measurement, error) { return nil, errNeedsLinux }
