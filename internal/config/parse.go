package config

// Parsing. pflag reads the command line into raw texts; which text counts (flag, environment,
// default) and what it means is decided here, the same way for all three, so that an error can
// always name where the value came from.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// ErrHelp is returned by Parse when --help or -h was given.
var ErrHelp = errors.New("help was asked for")

// Parse reads the settings from args (without the program's name), then env (os.Getenv), then the
// defaults. It checks every value by itself; Resolve checks how they fit together. All faults come
// in one joined error.
func Parse(args []string, env func(string) string) (Config, error) {
	var c Config
	groups := table(&c)
	flags, err := parseFlags(args, groups)
	if err != nil {
		return Config{}, err
	}
	var faults []error
	var given []string
	for _, g := range groups {
		for i := range g.settings {
			source, err := g.settings[i].fill(flags, env)
			faults = append(faults, err)
			if g.title == clusterTitle && g.settings[i].flag != haSwitch && source != "" {
				given = append(given, source)
			}
		}
	}
	c.clusterGiven = strings.Join(given, ", ")
	if err := errors.Join(faults...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// fill stores the setting's value from the source that wins, and returns the source: a flag, a variable, or ""
// for the default.
func (s *setting) fill(flags map[string]*rawFlag, env func(string) string) (source string, err error) {
	if f := flags[s.flag]; f != nil && f.given {
		return "--" + s.flag, s.store(f.text, "--"+s.flag)
	}
	text, name, err := s.fromEnv(env)
	if err != nil {
		return "", err
	}
	if text != "" {
		return name, s.store(text, name)
	}
	if err := s.to.set(s.initial); err != nil {
		panic("bug: the default of " + s.env + " is not valid: " + err.Error())
	}
	return "", nil
}

// fromEnv reads the setting's variable under either prefix.
func (s *setting) fromEnv(env func(string) string) (text, name string, err error) {
	alias := s.alias()
	text, other := env(s.env), env(alias)
	switch {
	case text == "":
		return other, alias, nil
	case other != "" && other != text:
		return "", "", fmt.Errorf("%s and %s are both set and differ", s.env, alias)
	}
	return text, s.env, nil
}

// alias is the variable's name under the other prefix.
func (s *setting) alias() string {
	if stem, ok := strings.CutPrefix(s.env, "RF_"); ok {
		return "AYDER_" + stem
	}
	return "RF_" + strings.TrimPrefix(s.env, "AYDER_")
}

// store parses text; source is the flag or variable that an error names.
func (s *setting) store(text, source string) error {
	err := s.to.set(text)
	if err == nil {
		return nil
	}
	if _, hidden := s.to.(secretValue); hidden {
		return fmt.Errorf("%s: %w", source, err)
	}
	return fmt.Errorf("%s=%q: %w", source, text, err)
}

// rawFlag is a flag's text, unparsed. It is a pflag.Value.
type rawFlag struct {
	text  string
	given bool
}

func (f *rawFlag) String() string { return f.text }
func (f *rawFlag) Type() string   { return "" }

func (f *rawFlag) Set(text string) error {
	f.text, f.given = text, true
	return nil
}

// parseFlags reads the command line into raw texts by flag name.
func parseFlags(args []string, groups []group) (map[string]*rawFlag, error) {
	set := pflag.NewFlagSet("ayder", pflag.ContinueOnError)
	set.Usage = func() {}
	raw := make(map[string]*rawFlag)
	for _, g := range groups {
		for _, s := range g.settings {
			if s.flag == "" {
				continue
			}
			raw[s.flag] = &rawFlag{}
			f := set.VarPF(raw[s.flag], s.flag, "", "")
			if _, isBool := s.to.(boolValue); isBool {
				f.NoOptDefVal = "true" // "--dev" alone
			}
		}
	}
	if err := set.Parse(args); err != nil {
		return nil, explain(err, groups)
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return raw, nil
}

// explain turns pflag's error into ours, with the nearest flag for a name that does not exist.
func explain(err error, groups []group) error {
	if errors.Is(err, pflag.ErrHelp) {
		return ErrHelp
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	if near := nearest(name, groups); near != "" {
		return fmt.Errorf("unknown flag --%s; did you mean --%s?", name, near)
	}
	return fmt.Errorf("unknown flag --%s; --help lists all flags", name)
}
