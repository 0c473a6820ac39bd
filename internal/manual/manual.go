// Package manual renders what a program's own tables say of it: a manual page, and completions for shells. So what people
// read and what the program takes cannot differ.
package manual

// Program is a command with subcommands.
type Program struct {
	Name     string   // "ayder"
	Summary  string   // one line, without a full stop
	About    []string // paragraphs
	Version  string
	Commands []Command
	Groups   []Group // settings, of the command that is meant when none is named
	Exit     []Status
}

// Command is a subcommand, whose name may have two words.
type Command struct {
	Name  string // "topic create"
	Args  string // "NAME"
	Help  string // one line, without a full stop
	Flags []Flag
}

// Group is a titled run of settings.
type Group struct {
	Title string
	Flags []Flag
}

// Flag is a flag of a command, or a setting.
type Flag struct {
	Name    string // without dashes; empty: the environment variable alone
	Env     string // empty: none
	Kind    string // of its value, "number"; empty: it takes none. Words joined by | are all that it may be
	Default string
	Help    string
}

// Status is an exit status.
type Status struct {
	Code    int
	Meaning string
}
