// Command ayder is the server and the tools for its data, in one binary.
//
//	ayder [serve] [flags]   serve (the default); ayder --help lists every setting
//	ayder check DIR         verify every checksum of a data directory
//	ayder dump DIR          print its frames, one line per section
//	ayder restore DEST DIR  make a data directory of a backup (ayder backup DEST is the client's)
//	ayder repair DIR        say what is damaged, mend it from a backup or cut it off
//	ayder version           what was built, and how
//	ayder man               the manual page; ayder completion bash|zsh|fish
//	ayder topic|produce|consume|group|kv …    the client; ayder client lists its commands
//
// This is the only place that reads flags and the environment. Exit status: 0 done, 1 failed,
// 2 wrong usage, 3 (check) damage found; more of the client's in package cli.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"ayder/internal/cli"
	"ayder/internal/config"
	"ayder/internal/uring"
	"ayder/raftlog"
)

// version and revision are set by the Makefile.
var (
	version  = "devel"
	revision = ""
)

func main() { os.Exit(run(os.Args[1:])) }

// run chooses the subcommand; the first argument that is not a flag names it.
func run(args []string) int {
	command := "serve"
	if len(args) > 0 && slices.Contains(cli.Words(), args[0]) {
		return client(args)
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if status, ok := runTool(command, args); ok {
		return status
	}
	switch command {
	case "serve":
		return report(serve(args))
	case "check":
		return check(args)
	case "dump":
		return report(dump(args))
	case "version":
		printVersion()
		return 0
	case "man":
		return report(printManual(os.Stdout))
	case "completion":
		return report(printCompletion(os.Stdout, args))
	case "client":
		return report(cli.Help(os.Stdout))
	case "help":
		return report(config.Help(os.Stdout))
	}
	fmt.Fprintf(os.Stderr, "ayder: unknown command %q; known are serve, check, dump, restore, repair, version, man, completion, client, help, %s\n", command, strings.Join(cli.Words(), ", "))
	return 2
}

// client runs a command of the client; SIGINT and SIGTERM end it.
func client(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, args, os.Getenv, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stderr)})
}

// isTerminal tells whether somebody may be looking at f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// usageError is a mistake in the command line or the environment.
type usageError struct{ error }

func report(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "ayder:", err)
		return 2
	}
	fmt.Fprintln(os.Stderr, "ayder:", err)
	return 1
}

func printVersion() {
	fmt.Printf("ayder %s (%s) %s %s/%s, io_uring through %s\n",
		version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH, uring.Implementation())
	fmt.Printf("between nodes: version %s\n", raftlog.ProtocolVersion())
	if err := uring.Probe(); err != nil {
		fmt.Printf("io_uring cannot be used here: %v\n", err)
	}
}

// commit is the revision that was built, as far as the build knows it.
func commit() string {
	if revision != "" {
		return revision
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown revision"
}
