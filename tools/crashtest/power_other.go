//go:build !linux

package main

import "errors"

func newPowerLoss(string) (blow, error) {
	return nil, errors.New("mode fs needs Linux")
}
