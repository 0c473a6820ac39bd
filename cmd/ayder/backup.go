package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"ayder/aof"
	"ayder/api"
	"ayder/internal/backup"
	"ayder/internal/manual"
)

// Backups: the store as one that can be copied while it serves (the client's `ayder backup` asks for it, package cli), and the commands that
// work on directories of which no server is running. Each of those has its flags in its own table, from which help, the manual and
// completions are made; what they do is in package backup.

// Contents implements api.Backup.
func (st *store) Contents() (any, error) {
	c, err := st.log.Contents(st.committed())
	if errors.Is(err, aof.ErrBusy) {
		err = fmt.Errorf("%w: %w", api.ErrBusy, err)
	}
	return c, err
}

// ReadPiece implements api.Backup.
func (st *store) ReadPiece(name, id string, p []byte, off int64) (int, error) {
	limit := st.log.Durable()
	if committed := st.committed(); committed != nil {
		limit = committed()
	}
	n, err := st.log.ReadPiece(name, id, p, off, limit)
	if errors.Is(err, aof.ErrNotFound) {
		err = fmt.Errorf("%w: %w", api.ErrPieceGone, err)
	}
	return n, err
}

// committed tells how much of what is durable cannot be taken back; nil: all of it.
func (st *store) committed() func() uint64 {
	if st.cluster == nil {
		return nil
	}
	return st.cluster.node.Applied
}

// dirTool is a command that works on directories.
type dirTool struct {
	manual.Command
	flags *pflag.FlagSet
	run   func(args []string) (status int, err error)
}

// newTool begins a tool.
func newTool(name, args, help string) *dirTool {
	t := &dirTool{Command: manual.Command{Name: name, Args: args, Help: help}, flags: pflag.NewFlagSet(name, pflag.ContinueOnError)}
	t.flags.SortFlags = false
	t.flags.Usage = func() {}
	return t
}

// tools are all of them.
func tools() []*dirTool { return []*dirTool{restoreTool(), repairTool()} }

// describeTools lists them for the manual and for shells.
func describeTools() (all []manual.Command) {
	for _, t := range tools() {
		c := t.Command
		t.flags.VisitAll(func(f *pflag.Flag) {
			kind, help := pflag.UnquoteUsage(f)
			c.Flags = append(c.Flags, manual.Flag{Name: f.Name, Kind: kind, Help: help})
		})
		all = append(all, c)
	}
	return all
}

// runTool runs the tool of that name; false: there is none.
func runTool(name string, args []string) (status int, ok bool) {
	for _, t := range tools() {
		if t.Name != name {
			continue
		}
		if err := t.flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
			fmt.Printf("ayder %s %s\n\n%s.\n\n%s", t.Name, t.Args, t.Help, t.flags.FlagUsages())
			return 0, true
		} else if err != nil {
			return report(usageError{fmt.Errorf("%w; see ayder %s --help", err, name)}), true
		}
		status, err := t.run(t.flags.Args())
		if err != nil {
			return report(err), true
		}
		return status, true
	}
	return 0, false
}

func (t *dirTool) usage() error { return usageError{fmt.Errorf("usage: ayder %s %s", t.Name, t.Args)} }

// restoreTool makes a data directory of a backup, or tells what can be restored.
func restoreTool() *dirTool {
	t := newTool("restore", "DEST [DATA_DIR]", "Make a data directory of a backup, as it was at its end, an index or a time; without DATA_DIR, tell what can be restored")
	index := t.flags.Uint64("index", 0, "the last log `index` that is restored")
	at := t.flags.String("time", "", "the last `time` that is restored, like 2026-01-02T15:04:05.678Z")
	t.run = func(args []string) (int, error) {
		switch {
		case len(args) == 1 && t.flags.NFlag() == 0:
			return 0, describeBackup(args[0])
		case len(args) != 2 || t.flags.NFlag() > 1:
			return 0, t.usage()
		}
		var target backup.Target
		if t.flags.Changed("index") {
			target.Index = index
		}
		if t.flags.Changed("time") {
			when, err := time.Parse(time.RFC3339Nano, *at)
			if err != nil {
				return 0, usageError{fmt.Errorf("--time %q is not like 2026-01-02T15:04:05Z", *at)}
			}
			target.Time = &when
		}
		r, err := backup.Restore(args[0], args[1], target)
		if err != nil {
			return 0, err
		}
		_, err = fmt.Printf("restored into %s: index %d, written %s; topics %d, messages %d, keys %d\n",
			args[1], r.Index, backup.ShowTime(r.TimeMs), r.Topics, r.Messages, r.Keys)
		return 0, err
	}
	return t
}

// describeBackup prints the points of a backup, and what can be restored.
func describeBackup(dir string) error {
	l, err := backup.Load(dir)
	if err != nil {
		return err
	}
	for _, p := range l.Points {
		fmt.Fprintf(os.Stdout, "point %d: index %d, written %s\n", p.Seq, p.Index, backup.ShowTime(p.TimeMs))
	}
	for _, r := range l.Ranges() {
		fmt.Fprintf(os.Stdout, "every index from %d to %d can be restored\n", r.First, r.Last)
	}
	return nil
}

// repairTool says what is damaged, and mends or cuts it.
func repairTool() *dirTool {
	t := newTool("repair", "DIR", "Say what is damaged in a stopped server's data and what it would cost to mend it; with --yes, do it")
	from := t.flags.String("from", "", "put good frames from this `backup` in the place of damaged ones")
	cut := t.flags.Bool("cut", false, "end the log before the damage")
	yes := t.flags.Bool("yes", false, "do it; what is replaced or cut off goes to DIR/quarantine")
	t.run = func(args []string) (int, error) {
		if *yes && !*cut && *from == "" {
			return 0, usageError{errors.New("--yes: say how, by --from or --cut")}
		}
		dir, err := oneDir("repair", args)
		if err != nil {
			return 0, err
		}
		d, err := backup.Diagnose(dir, *from)
		if err == nil && !d.Report.OK() && *yes {
			d, err = backup.Repair{From: *from, Cut: *cut}.Apply(dir)
		}
		if err != nil {
			return 0, err
		}
		if err := d.Print(os.Stdout); err != nil || d.Report.OK() {
			return 0, err
		}
		if !*yes && (*cut || *from != "") {
			fmt.Println("nothing was changed: add --yes")
		}
		return exitDamaged, nil
	}
	return t
}
