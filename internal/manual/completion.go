package manual

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Completions. Each shell gets a list of what may stand where; the scripts that look it up are as short as that allows.
//
//	(nothing)       first words, and the server's flags
//	topic           second words
//	topic create    flags
//
// What a table does not know (names of topics, files) is left to the shell, which offers files. zsh runs bash's script.

// Shells are the shells that Completion knows.
var Shells = []string{"bash", "zsh", "fish"}

// Completion is a script for one of Shells, nil for another.
func (p *Program) Completion(shell string) []byte {
	switch shell {
	case "bash":
		return p.bash()
	case "zsh":
		return append([]byte("#compdef "+p.Name+"\nautoload -U +X bashcompinit && bashcompinit\n"), p.bash()...)
	case "fish":
		return p.fish()
	}
	return nil
}

// words maps what was typed, joined by spaces, to what may come next: words first, then flags.
func (p *Program) words() (places []string, next map[string][]string) {
	next = map[string][]string{}
	add := func(place, word string) {
		if _, ok := next[place]; !ok {
			places = append(places, place)
		}
		if !slices.Contains(next[place], word) {
			next[place] = append(next[place], word)
		}
	}
	for _, c := range p.Commands {
		first, second, two := strings.Cut(c.Name, " ")
		add("", first)
		if two {
			add(first, second)
		}
		for _, f := range c.Flags {
			add(c.Name, "--"+f.Name)
		}
	}
	for _, g := range p.Groups {
		for _, f := range g.Flags {
			if f.Name != "" {
				add("serve", "--"+f.Name)
				add("", "--"+f.Name)
			}
		}
	}
	return places, next
}

func (p *Program) bash() []byte {
	var b bytes.Buffer
	places, next := p.words()
	fmt.Fprintf(&b, "_%[1]s() {\n\tlocal word=${COMP_WORDS[COMP_CWORD]} place=\"\" i list\n", p.Name)
	b.WriteString("\tfor ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n\t\tcase ${COMP_WORDS[i]} in -*) break ;; *) place=\"$place${place:+ }${COMP_WORDS[i]}\" ;; esac\n\tdone\n")
	b.WriteString("\twhile :; do\n\t\tcase $place in\n")
	for _, place := range places {
		fmt.Fprintf(&b, "\t\t%q) list=%q; break ;;\n", place, strings.Join(next[place], " "))
	}
	b.WriteString("\t\t*\" \"*) place=${place% *} ;;\n\t\t*) list=\"\"; break ;;\n\t\tesac\n\tdone\n")
	fmt.Fprintf(&b, "\tCOMPREPLY=($(compgen -W \"$list\" -- \"$word\"))\n\t[ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$word\"))\n}\ncomplete -o filenames -F _%[1]s %[1]s\n", p.Name)
	return b.Bytes()
}

func (p *Program) fish() []byte {
	var b bytes.Buffer
	seen := map[string]bool{}
	for _, c := range p.Commands {
		first, second, two := strings.Cut(c.Name, " ")
		where := "__fish_seen_subcommand_from " + first
		if two {
			if !seen[first] {
				seen[first] = true
				fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -f -a %s\n", p.Name, first)
			}
			fmt.Fprintf(&b, "complete -c %s -n '%s' -f -a %s -d %s\n", p.Name, where, second, quoted(c.Help))
			where += "; and __fish_seen_subcommand_from " + second
		} else {
			fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -f -a %s -d %s\n", p.Name, first, quoted(c.Help))
		}
		p.fishFlags(&b, where, c.Flags)
	}
	for _, g := range p.Groups {
		p.fishFlags(&b, "__fish_use_subcommand; or __fish_seen_subcommand_from serve", g.Flags)
	}
	return b.Bytes()
}

func (p *Program) fishFlags(b *bytes.Buffer, where string, flags []Flag) {
	for _, f := range flags {
		if f.Name == "" {
			continue
		}
		value := ""
		if strings.Contains(f.Kind, "|") {
			value = " -x -a " + quoted(strings.ReplaceAll(f.Kind, "|", " "))
		} else if f.Kind != "" {
			value = " -r"
		}
		fmt.Fprintf(b, "complete -c %s -n '%s' -l %s%s -d %s\n", p.Name, where, f.Name, value, quoted(f.Help))
	}
}

// quoted is a word for a shell.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
