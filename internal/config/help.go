package config

import (
	"bytes"
	"fmt"
	"io"

	"ayder/internal/manual"
)

// Help writes every setting, grouped, with its flag, type, default and variable.
func Help(w io.Writer) error {
	var c Config
	var out bytes.Buffer
	for _, g := range table(&c) {
		fmt.Fprintf(&out, "%s:\n", g.title)
		for _, s := range g.settings {
			s.describe(&out)
		}
		out.WriteByte('\n')
	}
	out.WriteString("Sizes take KiB, MiB or GiB; times are milliseconds or take ms, s, m or h. A flag wins over its variable;\n" +
		"every variable may start with RF_ or AYDER_.\n")
	_, err := w.Write(out.Bytes())
	return err
}

// describe writes one setting: what is typed on one line, what it does on the next.
func (s *setting) describe(out *bytes.Buffer) {
	name := "--" + s.flag + " "
	if s.flag == "" {
		name = s.env + "="
	}
	fmt.Fprintf(out, "  %s%s", name, s.to.kind())
	if s.flag != "" {
		fmt.Fprintf(out, "  [%s]", s.env)
	}
	if s.initial != "" {
		fmt.Fprintf(out, "  (default %s)", s.initial)
	}
	fmt.Fprintf(out, "\n        %s\n", s.help)
}

// Describe lists the settings, for the manual and for shells.
func Describe() (all []manual.Group) {
	var c Config
	for _, g := range table(&c) {
		d := manual.Group{Title: g.title}
		for _, s := range g.settings {
			d.Flags = append(d.Flags, manual.Flag{Name: s.flag, Env: s.env, Kind: s.to.kind(), Default: s.initial, Help: s.help})
		}
		all = append(all, d)
	}
	return all
}
