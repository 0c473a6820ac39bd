package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// The table of commands and what happens around each: flags, the number of arguments, a client for the server, the exit
// code. A command declares its flags in build and gets to run what build returned, so that a flag's variable, its help
// and its use stand together.

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out      io.Writer
	Err      io.Writer
	Terminal bool // Err is one: progress is shown there
}

// command is one line of the table.
type command struct {
	name  string // "topic create"
	args  string // as help shows them
	count [2]int // fewest and most arguments; most -1: any number
	help  string
	build func(f *pflag.FlagSet) func(s *session, args []string) error
}

// commands is every command there is.
func commands() []command {
	var all []command
	for _, part := range [][]command{topicCommands, produceCommands, consumeCommands, groupCommands, kvCommands, healthCommands, queryCommands, backupCommands} {
		all = append(all, part...)
	}
	return all
}

// Words are the first words of all commands.
func Words() (words []string) {
	for _, c := range commands() {
		word, _, _ := strings.Cut(c.name, " ")
		if len(words) == 0 || words[len(words)-1] != word {
			words = append(words, word)
		}
	}
	return words
}

// session is one run of a command.
type session struct {
	ctx context.Context
	Streams
	client  *client
	json    bool
	quiet   bool
	getenv  func(string) string
	server  string
	token   string
	caFile  string
	retry   time.Duration
	command *command
}

// Run runs a command; args starts with its first word. getenv gives the environment (AYDER_SERVER, AYDER_TOKEN,
// AYDER_CA). The result is the exit code that the package's documentation lists.
func Run(ctx context.Context, args []string, getenv func(string) string, streams Streams) int {
	s := &session{ctx: ctx, Streams: streams, getenv: getenv}
	err := s.run(args)
	var usage usageError
	switch {
	case err == nil || errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(streams.Err, "ayder:", err)
		return exitUsage
	}
	if ctx.Err() == nil {
		fmt.Fprintln(streams.Err, "ayder:", err)
	}
	return exitCode(err)
}

// Exit codes besides 0.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 4
	exitConflict = 5
	exitDenied   = 6
)

func exitCode(err error) int {
	var e *answerError
	if !errors.As(err, &e) {
		return exitFailed
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exitConflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	}
	return exitFailed
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (s *session) run(args []string) error {
	c, rest, err := findCommand(args)
	if err != nil {
		return err
	}
	if c == nil {
		return s.list(args[0])
	}
	s.command = c
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SetOutput(s.Err)
	flags.SortFlags = false
	flags.Usage = func() {}
	do := c.build(flags)
	s.common(flags)
	if err := flags.Parse(rest); errors.Is(err, pflag.ErrHelp) {
		s.usage(flags)
		return err
	} else if err != nil {
		return usagef("%v; see ayder %s --help", err, c.name)
	}
	if n := flags.NArg(); n < c.count[0] || c.count[1] >= 0 && n > c.count[1] {
		return usagef("usage: ayder %s %s", c.name, c.args)
	}
	if s.client, err = newClient(s.server, s.token, s.caFile, s.retry, s.notice); err != nil {
		return err
	}
	return do(s, flags.Args())
}

// findCommand splits args into a command and its arguments. No command and no error: a group's name alone, or with --help.
func findCommand(args []string) (*command, []string, error) {
	all := commands()
	for n := min(len(args), 2); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for i := range all {
			if all[i].name == name {
				return &all[i], args[n:], nil
			}
		}
	}
	if len(args) == 1 || args[1] == "--help" || args[1] == "-h" || args[1] == "help" {
		return nil, nil, nil
	}
	return nil, nil, usagef("unknown command %q; see ayder %s --help", strings.Join(args[:2], " "), args[0])
}

// list prints the commands that begin with word.
func (s *session) list(word string) error {
	for _, c := range commands() {
		if strings.HasPrefix(c.name, word+" ") {
			fmt.Fprintf(s.Out, "  ayder %s %s\n        %s\n", c.name, c.args, c.help)
		}
	}
	return nil
}

func (s *session) usage(flags *pflag.FlagSet) {
	fmt.Fprintf(s.Out, "ayder %s %s\n\n%s.\n\n%s", s.command.name, s.command.args, s.command.help, flags.FlagUsages())
}

// common adds the flags that every command has.
func (s *session) common(f *pflag.FlagSet) {
	f.StringVar(&s.server, "server", s.env("AYDER_SERVER", serverDefault), "URL of a server; several, separated by commas, are tried in turn [AYDER_SERVER]")
	f.StringVar(&s.token, "token", s.env("AYDER_TOKEN", tokenDefault), "bearer token [AYDER_TOKEN]")
	f.Lookup("token").DefValue = tokenDefault // help does not show a secret
	f.StringVar(&s.caFile, "ca", s.env("AYDER_CA", ""), "file of certificates to trust for https [AYDER_CA]")
	f.DurationVar(&s.retry, "retry", retryDefault, "how long to go on trying while no server can answer")
	f.BoolVar(&s.json, "json-answer", false, "print the server's answers as they are")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "say nothing on standard error but errors")
}

func (s *session) env(name, initial string) string {
	if v := s.getenv(name); v != "" {
		return v
	}
	return initial
}

// notice tells the user something that is no error.
func (s *session) notice(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(s.Err, format+"\n", args...)
	}
}

// Help prints one line per command.
func Help(w io.Writer) error {
	all := commands()
	sort.SliceStable(all, func(i, j int) bool { return all[i].name < all[j].name })
	for _, c := range all {
		if _, err := fmt.Fprintf(w, "  ayder %s %s\n        %s\n", c.name, c.args, c.help); err != nil {
			return err
		}
	}
	return nil
}
