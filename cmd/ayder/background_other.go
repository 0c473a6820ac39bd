//go:build !linux

package main

// background does nothing: only Linux has threads that run where nothing else wants to.
func background() {}
