package config

// The types of settings. Each knows how to read a text into its field and how to describe itself in
// --help; bounds are checked while reading, so that a fault can be reported together with the flag
// or variable it came by.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is one typed place for a setting.
type value interface {
	// set parses text and stores it. Its error says what would be right; it does not name the
	// setting or repeat a secret.
	set(text string) error
	// kind describes the type and its unit in a word for --help.
	kind() string
}

// textValue takes any text.
type textValue struct{ to *string }

func text(to *string) value { return textValue{to} }

func (v textValue) kind() string { return "text" }

func (v textValue) set(text string) error {
	*v.to = text
	return nil
}

// secretValue takes any text and never shows it.
type secretValue struct{ to *Secret }

func secret(to *Secret) value { return secretValue{to} }

func (v secretValue) kind() string { return "secret" }

func (v secretValue) set(text string) error {
	*v.to = Secret(text)
	return nil
}

// boolValue takes true/false, yes/no, on/off and 1/0.
type boolValue struct{ to *bool }

func boolean(to *bool) value { return boolValue{to} }

func (v boolValue) kind() string { return "bool" }

func (v boolValue) set(text string) error {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		*v.to = true
	case "false", "no", "off", "0":
		*v.to = false
	default:
		return errors.New("want true or false")
	}
	return nil
}

// choiceValue takes one of a few words.
type choiceValue struct {
	to    *string
	words []string
}

func choice(to *string, words ...string) value { return choiceValue{to, words} }

func (v choiceValue) kind() string { return strings.Join(v.words, "|") }

func (v choiceValue) set(text string) error {
	if !slices.Contains(v.words, text) {
		return fmt.Errorf("want one of %s", strings.Join(v.words, ", "))
	}
	*v.to = text
	return nil
}

// numberValue takes a decimal count.
type numberValue struct {
	to          *int
	least, most int
}

func number(to *int, least, most int) value { return numberValue{to, least, most} }

func (v numberValue) kind() string { return "count" }

func (v numberValue) set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < v.least || n > v.most {
		return fmt.Errorf("want a number from %d to %d", v.least, v.most)
	}
	*v.to = n
	return nil
}

// sizeValue takes bytes, plain or with a binary suffix.
type sizeValue[T int | int64] struct {
	to          *T
	least, most int64
}

func size[T int | int64](to *T, least, most int64) value { return sizeValue[T]{to, least, most} }

func (v sizeValue[T]) kind() string { return "size" }

func (v sizeValue[T]) set(text string) error {
	n, err := parseSize(text)
	if err != nil || n < v.least || n > v.most {
		return fmt.Errorf("want a size from %s to %s, in bytes or with KiB, MiB or GiB", formatSize(v.least), formatSize(v.most))
	}
	*v.to = T(n)
	return nil
}

// sizeUnits are the suffixes of sizes, longest unit first.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", gib}, {"MiB", mib}, {"KiB", kib}}

func parseSize(text string) (int64, error) {
	unit := int64(1)
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(text, u.suffix); ok {
			text, unit = strings.TrimSpace(digits), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse size: %w", err)
	}
	if n < 0 || n > math.MaxInt64/unit {
		return 0, errors.New("parse size: out of range")
	}
	return n * unit, nil
}

// formatSize writes a size in the largest unit that divides it.
func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

const (
	millisecond = time.Millisecond
	second      = time.Second
	hour        = time.Hour
)

// durationValue takes milliseconds, or Go's notation of durations.
type durationValue struct {
	to          *time.Duration
	least, most time.Duration
}

func duration(to *time.Duration, least, most time.Duration) value {
	return durationValue{to, least, most}
}

func (v durationValue) kind() string { return "ms" }

func (v durationValue) set(text string) error {
	d, err := parseDuration(text)
	if err != nil || d < v.least || d > v.most {
		return fmt.Errorf("want a time from %v to %v, in milliseconds or with ms, s, m or h", v.least, v.most)
	}
	*v.to = d
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		if ms < 0 || ms > math.MaxInt64/int64(millisecond) {
			return 0, errors.New("parse time: out of range")
		}
		return time.Duration(ms) * millisecond, nil
	}
	return time.ParseDuration(text)
}
