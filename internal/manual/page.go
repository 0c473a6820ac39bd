package manual

import (
	"bytes"
	"fmt"
	"strings"
)

// The page, in man(7)'s macros, which every system's man can show; mdoc would say more and is not everywhere. It bears
// no date, so that the same source gives the same bytes. A text's hyphens are escaped, because what is between them
// is mostly to be typed, and troff would make typographer's hyphens of them.

// Page is the manual page.
func (p *Program) Page() []byte {
	var b bytes.Buffer
	title := strings.ToUpper(p.Name)
	fmt.Fprintf(&b, ".TH %s 1 \"\" %q \"User Commands\"\n", title, p.Name+" "+p.Version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n[\\fIcommand\\fR] [\\fIflags\\fR] [\\fIarguments\\fR]\n.SH DESCRIPTION\n", p.Name, roff(p.Summary), p.Name)
	for i, text := range p.About {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(line(text))
	}
	b.WriteString(".SH COMMANDS\n")
	for i := range p.Commands {
		p.Commands[i].page(&b, p.Name)
	}
	b.WriteString(".SH SETTINGS\nA flag wins over its environment variable.\n")
	for _, g := range p.Groups {
		fmt.Fprintf(&b, ".SS %s\n", roff(g.Title))
		pageFlags(&b, g.Flags)
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, s := range p.Exit {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s", s.Code, line(s.Meaning))
	}
	return b.Bytes()
}

func (c *Command) page(b *bytes.Buffer, program string) {
	fmt.Fprintf(b, ".SS \"%s %s\"\n", program, roff(strings.TrimSpace(c.Name+" "+c.Args)))
	b.WriteString(line(c.Help + "."))
	pageFlags(b, c.Flags)
}

func pageFlags(b *bytes.Buffer, flags []Flag) {
	for i := range flags {
		f := &flags[i]
		fmt.Fprintf(b, ".TP\n%s\n", f.heading())
		help := f.Help
		if f.Default != "" {
			help += " (default " + f.Default + ")"
		}
		b.WriteString(line(help + "."))
	}
}

// heading is what is typed.
func (f *Flag) heading() string {
	if f.Name == "" {
		return fmt.Sprintf("\\fB%s\\fR=\\fI%s\\fR", roff(f.Env), roff(f.Kind))
	}
	text := "\\fB\\-\\-" + roff(f.Name) + "\\fR"
	if f.Kind != "" {
		text += " \\fI" + roff(f.Kind) + "\\fR"
	}
	if f.Env != "" {
		text += " [\\fB" + roff(f.Env) + "\\fR]"
	}
	return text
}

// line is a line of text that cannot be taken for a macro.
func line(text string) string {
	text = roff(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = "\\&" + text
	}
	return text + "\n"
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "…", "...", "→", "->", "’", "'")

// roff escapes what troff would take for something else.
func roff(text string) string { return roffEscapes.Replace(text) }
