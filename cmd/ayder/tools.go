package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"ayder/aof"
)

// check verifies a data directory and prints what it found.
func check(args []string) int {
	dir, err := oneDir("check", args)
	if err != nil {
		return report(err)
	}
	r, err := aof.Check(nil, dir)
	if err != nil {
		return report(err)
	}
	if err := r.Print(os.Stdout); err != nil {
		return report(err)
	}
	if !r.OK() {
		return exitDamaged
	}
	return 0
}

// exitDamaged is check's status when acknowledged data cannot be read.
const exitDamaged = 3

// dump prints a data directory's frames, their sections and records.
func dump(args []string) error {
	dir, err := oneDir("dump", args)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	return errors.Join(aof.Dump(out, nil, dir, aof.DumpOptions{Sections: true, Records: true}), out.Flush())
}

func oneDir(command string, args []string) (string, error) {
	if len(args) != 1 {
		return "", usageError{fmt.Errorf("usage: ayder %s DIR", command)}
	}
	if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
		return "", usageError{errors.Join(fmt.Errorf("%s is not a directory", args[0]), err)}
	}
	return args[0], nil
}
