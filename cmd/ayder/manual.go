package main

import (
	"fmt"
	"io"
	"strings"

	"ayder/internal/cli"
	"ayder/internal/config"
	"ayder/internal/manual"
)

// shells are what completion is for.
var shells = strings.Join(manual.Shells, "|")

// program is what the binary says of itself.
func program() *manual.Program {
	p := &manual.Program{
		Name: "ayder", Summary: "a durable event log and message bus over HTTP, and its client", Version: version,
		About: []string{
			"Without a command, or with serve, it is the server: topics with partitions and offsets, consumer groups, keys and values, answered after the sync that made them durable.",
			"Every setting of the server is a flag and an environment variable. Sizes take KiB, MiB or GiB; times are milliseconds or take ms, s, m or h. SIGHUP reads tokens and certificates again, SIGTERM stops it when what it was asked is answered.",
		},
		Commands: []manual.Command{
			{Name: "serve", Help: "Run the server; its flags are the settings below"},
			{Name: "check", Args: "DIR", Help: "Verify every checksum of a stopped server's data"},
			{Name: "dump", Args: "DIR", Help: "Print the frames of a stopped server's log, a line for each section"},
			{Name: "version", Help: "Print what was built, and how"},
			{Name: "man", Help: "Print this page"},
			{Name: "completion", Args: shells, Help: "Print a script that completes commands and flags"},
			{Name: "client", Help: "List the commands of the client"},
		},
		Groups: config.Describe(),
		Exit: []manual.Status{
			{Code: 0, Meaning: "Done."},
			{Code: 1, Meaning: "Failed."},
			{Code: 2, Meaning: "Wrong usage, or settings that cannot be."},
			{Code: 3, Meaning: "Damage was found (check), or is left (repair)."},
			{Code: 4, Meaning: "There is no such thing (client)."},
			{Code: 5, Meaning: "A conflict with what is there (client)."},
			{Code: 6, Meaning: "Not allowed (client)."},
		},
	}
	p.Commands = append(append(p.Commands, describeTools()...), cli.Describe()...)
	return p
}

func printManual(w io.Writer) error {
	_, err := w.Write(program().Page())
	return err
}

func printCompletion(w io.Writer, args []string) error {
	if len(args) == 1 {
		if script := program().Completion(args[0]); script != nil {
			_, err := w.Write(script)
			return err
		}
	}
	return usageError{fmt.Errorf("usage: ayder completion %s", shells)}
}
