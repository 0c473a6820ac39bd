package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

// none is an empty environment.
func none(string) string { return "" }

// environment is an environment made of "NAME=text" pairs.
func environment(pairs ...string) func(string) string {
	values := make(map[string]string)
	for _, pair := range pairs {
		name, text, _ := strings.Cut(pair, "=")
		values[name] = text
	}
	return func(name string) string { return values[name] }
}

// everySetting calls fn for each row of a table bound to c.
func everySetting(c *Config, fn func(s setting)) {
	for _, g := range table(c) {
		for _, s := range g.settings {
			fn(s)
		}
	}
}

func TestDefaults(t *testing.T) {
	got, err := Parse(nil, none)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Backend: "auto", DataDir: "./data", SegmentBytes: 64 << 20, TailBytes: 256 << 20, CommitsInFlight: 2, RocketBytes: 4 << 30,
		CommitTimeout: 5 * time.Second, AutoCreate: true, PartitionsDefault: 8, IdempotencyWindow: time.Hour, IdempotencyKeys: 1_000_000,
		CommitIs: "next", RequestLineBytesMax: 8 << 10, HeadBytesMax: 32 << 10, HeadFieldsMax: 100, BodyBytesMax: 8 << 20,
		HeadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ConnsMax: 65536, OutputBytesMax: 1 << 20, ServerTiming: true,
		LogLevel: "info", LogFormat: "text", ShutdownTimeout: 10 * time.Second, GCPercent: 400,
		RaftLeaderSync: "parallel", RaftHeartbeat: 300 * time.Millisecond, RaftElection: 300 * time.Millisecond,
		RaftLease: 200 * time.Millisecond, RaftCommitTimeout: 5 * time.Millisecond, RaftPriorityHold: 10 * time.Second,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Resolve(); err != nil || got.Listen != "127.0.0.1:1109" || got.Loops < 1 || got.TLSListen != "" {
		t.Errorf("resolved to %+v, %v", got, err)
	}
}

// TestEveryFieldHasOneSetting sets every row to a value other than its default and finds every
// field of Config changed.
func TestEveryFieldHasOneSetting(t *testing.T) {
	var c Config
	var args, env []string
	everySetting(&c, func(s setting) {
		other := acceptable(s)
		if s.flag == "" {
			env = append(env, s.env+"="+other)
		} else {
			args = append(args, "--"+s.flag+"="+other)
		}
	})
	c, err := Parse(args, environment(env...))
	if err != nil {
		t.Fatal(err)
	}
	initial, err := Parse(nil, none)
	if err != nil {
		t.Fatal(err)
	}
	fields, defaults := reflect.ValueOf(c), reflect.ValueOf(initial)
	rows := 0
	everySetting(&c, func(setting) { rows++ })
	settings := 0
	for i := range fields.NumField() {
		f := fields.Type().Field(i)
		if f.Name == "HA" || !f.IsExported() { // made from the others
			continue
		}
		settings++
		if fields.Field(i).Equal(defaults.Field(i)) {
			t.Errorf("no setting reaches %s", f.Name)
		}
	}
	if rows != settings {
		t.Errorf("%d settings for %d fields", rows, settings)
	}
}

// acceptable is a text that the setting takes and that is not its default.
func acceptable(s setting) string {
	texts := []string{"true", "false", "9", "99", "7777", "512KiB", "5MiB", "x"}
	if choice, ok := s.to.(choiceValue); ok {
		texts = choice.words
	}
	for _, text := range texts {
		if text != s.initial && s.to.set(text) == nil {
			return text
		}
	}
	panic("bug: the test knows no text for " + s.env)
}

// TestTableIsSound keeps the rules that a new row could break.
func TestTableIsSound(t *testing.T) {
	seen := make(map[string]bool)
	var c Config
	everySetting(&c, func(s setting) {
		if err := s.to.set(s.initial); err != nil {
			t.Errorf("%s: default %q: %v", s.env, s.initial, err)
		}
		stem := strings.TrimPrefix(strings.TrimPrefix(s.env, "RF_"), "AYDER_")
		if stem == s.env {
			t.Errorf("%s has neither prefix", s.env)
		}
		if s.flag == "help" || seen[stem] || s.flag != "" && seen["--"+s.flag] {
			t.Errorf("%s: used twice", s.env)
		}
		seen[stem], seen["--"+s.flag] = true, true
		if _, isSecret := s.to.(secretValue); isSecret != (s.flag == "") {
			t.Errorf("%s: secrets, and only they, have no flag", s.env)
		}
		if _, isTime := s.to.(durationValue); isTime != strings.HasSuffix(s.env, "_MS") {
			t.Errorf("%s: times, and only they, end in _MS", s.env)
		}
		if s.help == "" || strings.HasSuffix(s.help, ".") || len(s.help) > 90 {
			t.Errorf("%s: help is %q", s.env, s.help)
		}
	})
}

func TestPrecedence(t *testing.T) {
	tests := []struct {
		args []string
		env  []string
		want time.Duration
	}{
		{nil, nil, 5 * time.Second},
		{nil, []string{"RF_COMMIT_TIMEOUT_MS=250"}, 250 * time.Millisecond},
		{nil, []string{"AYDER_COMMIT_TIMEOUT_MS=251"}, 251 * time.Millisecond},
		{nil, []string{"RF_COMMIT_TIMEOUT_MS=252", "AYDER_COMMIT_TIMEOUT_MS=252"}, 252 * time.Millisecond},
		{nil, []string{"RF_COMMIT_TIMEOUT_MS="}, 5 * time.Second},
		{[]string{"--commit-timeout", "2s"}, []string{"RF_COMMIT_TIMEOUT_MS=250"}, 2 * time.Second},
		{[]string{"--commit-timeout=3000"}, []string{"RF_COMMIT_TIMEOUT_MS=nonsense"}, 3 * time.Second},
		{[]string{"--commit-timeout=1s", "--commit-timeout=4s"}, nil, 4 * time.Second},
	}
	for _, tt := range tests {
		c, err := Parse(tt.args, environment(tt.env...))
		if err != nil || c.CommitTimeout != tt.want {
			t.Errorf("%v %v: %v, %v, want %v", tt.args, tt.env, c.CommitTimeout, err, tt.want)
		}
	}
}

func TestBooleans(t *testing.T) {
	for text, want := range map[string]bool{"--auto-create": true, "--auto-create=false": false, "--auto-create=OFF": false, "--auto-create=1": true, "--auto-create=no": false} {
		if c, err := Parse([]string{text}, none); err != nil || c.AutoCreate != want {
			t.Errorf("%s: %v, %v", text, c.AutoCreate, err)
		}
	}
}

func TestFaultsNameTheSetting(t *testing.T) {
	tests := []struct {
		args []string
		env  []string
		want string
	}{
		{[]string{"--segment-bytes=1"}, nil, `--segment-bytes="1": want a size from 4MiB to 4GiB, in bytes or with KiB, MiB or GiB`},
		{[]string{"--segment-bytes=64MB"}, nil, `--segment-bytes="64MB": want a size`},
		{[]string{"--partitions", "0"}, nil, `--partitions="0": want a number from 1 to 1024`},
		{[]string{"--backend=epoll"}, nil, `--backend="epoll": want one of auto, uring, evio`},
		{[]string{"--dev=maybe"}, nil, `--dev="maybe": want true or false`},
		{nil, []string{"RF_COMMIT_TIMEOUT_MS=-1"}, `RF_COMMIT_TIMEOUT_MS="-1": want a time from 1ms to 1h0m0s, in milliseconds or with ms, s, m or h`},
		{nil, []string{"AYDER_COMMIT_TIMEOUT_MS=1 s"}, `AYDER_COMMIT_TIMEOUT_MS="1 s": want a time`},
		{nil, []string{"RF_COMMIT_IS=first"}, `RF_COMMIT_IS="first": want one of next, last`},
		{nil, []string{"RF_TLS_CERT=a", "AYDER_TLS_CERT=b"}, "RF_TLS_CERT and AYDER_TLS_CERT are both set and differ"},
		{[]string{"--lisen=:1"}, nil, "unknown flag --lisen; did you mean --listen?"},
		{[]string{"--datadir", "x"}, nil, "unknown flag --datadir; did you mean --data-dir?"},
		{[]string{"--no-such-thing-at-all"}, nil, "unknown flag --no-such-thing-at-all; --help lists all flags"},
		{[]string{"--bearer-tokens=x"}, nil, "unknown flag --bearer-tokens"},
		{[]string{"-x"}, nil, "unknown flag --x; --help lists all flags"},
		{[]string{"--listen"}, nil, "flag needs an argument: --listen"},
		{[]string{"serve", "--dev"}, nil, `unexpected argument "serve"`},
	}
	for _, tt := range tests {
		c, err := Parse(tt.args, environment(tt.env...))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || c != (Config{}) {
			t.Errorf("%v %v: %v, want %s", tt.args, tt.env, err, tt.want)
		}
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := Parse([]string{"--loops=-1", "--conns=x"}, environment("RF_COMMIT_IS=?"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three lines, got %v", err)
	}
}

func TestSizes(t *testing.T) {
	tests := map[string]int64{
		"0": 0, "17": 17, "8KiB": 8 << 10, "8 KiB": 8 << 10, "3MiB": 3 << 20, "2GiB": 2 << 30, "9223372036854775807": 1<<63 - 1,
		"": -1, "KiB": -1, "-1": -1, "-1KiB": -1, "1.5MiB": -1, "1kib": -1, "1KB": -1, "9007199254740992KiB": -1, "0x10": -1, "1_000": -1,
	}
	for text, want := range tests {
		got, err := parseSize(text)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("parseSize(%q) = %d, %v", text, got, err)
		}
	}
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1KiB", 1536: "1536", 64 << 20: "64MiB", 3 << 30: "3GiB", 1 << 40: "1024GiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	c, err := Parse(nil, environment("RF_BEARER_TOKENS=hunter2"))
	if err != nil || string(c.BearerTokens) != "hunter2" {
		t.Fatalf("%q, %v", string(c.BearerTokens), err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", c.BearerTokens)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", c, "secret", c.BearerTokens)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", c, "secret", c.BearerTokens)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Error(err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("printed %s", out.String())
	}
	if Secret("").String() != "" {
		t.Error("an empty secret looks like one")
	}
}

func TestHelp(t *testing.T) {
	if _, err := Parse([]string{"--dev", "--help"}, none); !errors.Is(err, ErrHelp) {
		t.Errorf("--help: %v", err)
	}
	if _, err := Parse([]string{"-h"}, none); !errors.Is(err, ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	var out bytes.Buffer
	if err := Help(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	var c Config
	everySetting(&c, func(s setting) {
		for _, part := range []string{"--" + s.flag, s.env, s.help} {
			if !strings.Contains(text, part) {
				t.Errorf("help does not mention %q", part)
			}
		}
	})
	for _, part := range []string{
		"Storage:\n", "  --segment-bytes size  [AYDER_SEGMENT_BYTES]  (default 64MiB)\n        size of one log segment",
		"  RF_BEARER_TOKENS=secret\n", "  --backend auto|uring|evio  [AYDER_BACKEND]  (default auto)\n",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("help lacks %q:\n%s", part, text)
		}
	}
}

func TestHelpReportsAFailedWriter(t *testing.T) {
	if err := Help(failing{}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"listen", "listen", 0}, {"lisen", "listen", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
