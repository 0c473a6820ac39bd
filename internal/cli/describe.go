package cli

import (
	"sort"

	"github.com/spf13/pflag"

	"ayder/internal/manual"
)

// Describe lists the commands and their flags, for the manual and for shells.
func Describe() (all []manual.Command) {
	for _, c := range commands() {
		flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
		flags.SortFlags = false
		c.build(flags)
		(&session{getenv: func(string) string { return "" }}).common(flags)
		d := manual.Command{Name: c.name, Args: c.args, Help: c.help}
		flags.VisitAll(func(f *pflag.Flag) {
			kind, help := pflag.UnquoteUsage(f)
			d.Flags = append(d.Flags, manual.Flag{Name: f.Name, Kind: kind, Default: shownDefault(f), Help: help})
		})
		all = append(all, d)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// shownDefault is a flag's default where it says something.
func shownDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "false", "0", "0s", "[]":
		return ""
	}
	return f.DefValue
}
