//go:build !linux

package main

import "errors"

func newNamespaces(int) (network, error) {
	return nil, errors.New("network namespaces exist on Linux only; use -netns=false")
}
