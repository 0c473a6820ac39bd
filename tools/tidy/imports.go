package tidy

// Who may import whom. The table is the architecture: what is not in it is not allowed. It is read
// from the source text and not from the build, so that files of other systems and tags are held to
// it as well.

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// arrows lists, for every package of ours, the packages of ours that it may import. A name that
// ends in "/..." stands for all packages below it; a package belongs to the longest row that
// matches. Everybody may import internal/invariant.
var arrows = map[string][]string{
	// The only place that reads flags and the environment and wires everything together.
	"cmd/ayder/...": {
		"api", "engine", "netpoll", "httpparse", "aof", "raftlog", "internal/...", "cmd/ayder/...",
	},
	// The HTTP face. It hands record.Batch from the engine to the log, without knowing either's
	// inside.
	"api": {
		"engine", "netpoll", "httpparse", "docs",
		"internal/auth", "internal/cloudevent", "internal/console", "internal/metrics", "internal/jsonscan", "internal/query", "internal/schema", "internal/timing", "internal/record",
	},
	// The state machine: no disk, socket, Raft, clock or goroutine.
	"engine": {"internal/record"},
	// Sockets in, bytes out; knows no HTTP.
	"netpoll": {"internal/uring", "internal/mailbox"},
	// Knows nobody.
	"httpparse": {},
	// The documents that the server shows.
	"docs": {},
	// Segments, group commit, recovery, reading; knows no topics.
	"aof": {"internal/record", "internal/uring"},
	// Raft around the same log.
	"raftlog": {"aof", "internal/record"},

	"internal/record":      {},
	"internal/uring":       {},
	"internal/mailbox":     {},
	"internal/timing":      {},
	"internal/metrics":     {"internal/timing"},                             // renders its snapshots
	"internal/config":      {"internal/manual"},                             // describes its settings
	"internal/cli":         {"internal/manual", "internal/backup", "aof"},   // and its commands
	"internal/backup":      {"aof", "engine", "raftlog", "internal/record"}, // copies logs, and makes them again
	"internal/manual":      {},
	"internal/auth":        {},
	"internal/console":     {},
	"internal/jsonscan":    {},
	"internal/cloudevent":  {"internal/jsonscan", "internal/record"}, // events in and out of messages
	"internal/query":       {"internal/jsonscan"},                    // records in, rows out
	"internal/schema":      {"internal/query", "internal/jsonscan"},  // decodes messages for it
	"internal/invariant":   {},
	"internal/testkit/...": {"aof", "internal/record", "internal/uring"}, // for tests: implements aof.FS, runs real servers

	"bench/...":  {"internal/timing", "bench/..."},
	"tools/...":  {"aof", "internal/record", "internal/testkit/...", "tools/..."}, // crashtest drives servers as tests do
	"tools/tidy": {},
}

// modules lists, for every module that we use, the packages that may import it. A module that is
// not here is a new dependency: it wants a row, and a reason in the commit that adds it.
var modules = map[string][]string{
	"github.com/pawelgaczynski/giouring":      {"internal/uring"},
	"github.com/tidwall/evio":                 {"netpoll"},
	"github.com/hashicorp/raft":               {"raftlog"},
	"github.com/hashicorp/go-hclog":           {"raftlog"},
	"github.com/hashicorp/go-metrics":         {"raftlog"},
	"github.com/anishathalye/porcupine":       {"tools/..."}, // judges histories; test files may use it anyway
	"github.com/HdrHistogram/hdrhistogram-go": {"internal/timing", "bench/..."},
	"github.com/spf13/pflag":                  {"internal/config", "internal/cli", "cmd/ayder/...", "bench/...", "tools/..."},
	"github.com/klauspost/compress":           {"api"}, // gzip bodies
	"github.com/prometheus/client_golang":     {"internal/metrics"},
	"github.com/prometheus/common":            {"internal/metrics"},
	"golang.org/x/sys":                        {"internal/uring", "internal/testkit/...", "netpoll", "aof", "cmd/ayder/...", "bench/...", "tools/..."},
	"go.yaml.in/yaml/v3":                      {"docs"}, // the OpenAPI document
	"modernc.org/sqlite":                      {},       // what queries are compared with, in test files
	"github.com/chromedp/chromedp":            {},       // drives the browser that the console is tested in, in test files
	"github.com/chromedp/cdproto":             {},       // what chromedp has no action for, in the same test files
	"github.com/cloudevents/sdk-go/v2":        {},       // what reads and writes events in test files
	"github.com/twmb/avro":                    {"internal/schema"},
	"github.com/bufbuild/protocompile":        {"internal/schema"},
	"google.golang.org/protobuf":              {"internal/schema"},
	"github.com/yuin/goldmark":                {"docs"}, // the guide
	"github.com/nats-io/nats.go":              {"bench/..."},
	"github.com/redis/go-redis/v9":            {"bench/..."},
	"go.etcd.io/etcd/client/v3":               {"bench/..."},
}

// exclusive are the modules that even test files must not import elsewhere: what hides them is a
// seam.
var exclusive = []string{
	"github.com/pawelgaczynski/giouring", "github.com/tidwall/evio", "github.com/hashicorp/raft",
}

// checkImports finds arrows that the tables do not have.
func checkImports(t *tree) []fault {
	var faults []fault
	t.parsed(func(s *source) {
		for _, spec := range s.file.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			if text := judge(s, target); text != "" {
				faults = append(faults, fault{s.path, s.line(spec.Pos()), text})
			}
		}
	})
	return faults
}

// judge returns what is wrong with one import, "" if nothing is.
func judge(s *source, target string) string {
	if ours, ok := strings.CutPrefix(target, module); ok {
		return judgeOurs(s, ours)
	}
	if !strings.Contains(strings.Split(target, "/")[0], ".") {
		return "" // the standard library
	}
	return judgeModule(s, target)
}

func judgeOurs(s *source, target string) string {
	if target == "internal/invariant" || s.isTest() {
		return ""
	}
	allowed, ok := rowOf(s.dir())
	switch {
	case !ok:
		return "package " + s.dir() + " has no row in the import table"
	case !matchesAny(allowed, target):
		return s.dir() + " may not import " + target
	}
	return ""
}

func judgeModule(s *source, target string) string {
	name := ""
	for m := range modules {
		if (target == m || strings.HasPrefix(target, m+"/")) && len(m) > len(name) {
			name = m
		}
	}
	switch {
	case name == "":
		return "module of " + target + " has no row in the module table"
	case s.isTest() && !slices.Contains(exclusive, name):
		return ""
	case !matchesAny(modules[name], s.dir()):
		return s.dir() + " may not import " + name
	}
	return ""
}

// rowOf returns the row of the package in dir: its own, or that of the nearest "/..." above it.
func rowOf(dir string) (allowed []string, ok bool) {
	if allowed, ok = arrows[dir]; ok {
		return allowed, true
	}
	for up := dir; up != "."; up = path.Dir(up) {
		if allowed, ok = arrows[up+"/..."]; ok {
			return allowed, true
		}
	}
	return nil, false
}

// matchesAny reports whether dir is one of the patterns, or below one that ends in "/...".
func matchesAny(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		above, tree := strings.CutSuffix(p, "/...")
		return p == dir || tree && (dir == above || strings.HasPrefix(dir, above+"/"))
	})
}
