package cli

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Groups: what the server knows of them is printed as it says it; a reset takes its target in the four forms that the
// server has, told apart by how they look: a word, a time (which has a colon), an offset. Offsets here are as the server
// counts them, normally the next one to read.

var groupCommands = []command{
	{name: "group list", count: [2]int{0, 0}, help: "List the groups", build: groupList},
	{name: "group describe", args: "GROUP", count: [2]int{1, 1}, help: "Show a group's committed offsets, lag and members", build: groupDescribe},
	{name: "group commit", args: "GROUP TOPIC PARTITION OFFSET", count: [2]int{4, 4}, help: "Move a group's committed offset forward", build: groupCommit},
	{name: "group reset", args: "GROUP TOPIC", count: [2]int{2, 2}, help: "Move a group's committed offsets anywhere", build: groupReset},
	{name: "group delete", args: "GROUP", count: [2]int{1, 1}, help: "Forget a group", build: groupDelete},
}

func groupList(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, _ []string) error {
		return s.printAnswer(call{method: http.MethodGet, path: "/broker/groups", repeat: true})
	}
}

func groupDescribe(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		return s.printAnswer(call{method: http.MethodGet, path: "/broker/groups/" + segment(args[0]), repeat: true})
	}
}

func groupCommit(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		partition, err := strconv.ParseUint(args[2], 10, 32)
		if err != nil {
			return usagef("PARTITION: %v", err)
		}
		offset, err := strconv.ParseUint(args[3], 10, 63)
		if err != nil {
			return usagef("OFFSET: %v", err)
		}
		q, err := commitCall(args[0], args[1], uint32(partition), offset)
		if err != nil {
			return err
		}
		return s.printAnswer(q)
	}
}

func groupReset(f *pflag.FlagSet) func(*session, []string) error {
	partition := f.Uint32("partition", 0, "of this partition only")
	to := f.String("to", "", "earliest, latest, an offset, or a time like 2026-01-31T12:00:00Z (required)")
	return func(s *session, args []string) error {
		target, err := resetTarget(*to)
		if err != nil {
			return err
		}
		command := map[string]any{"topic": args[1], "to": target}
		if f.Changed("partition") {
			command["partition"] = *partition
		}
		return s.post("/broker/groups/"+segment(args[0])+"/reset", command)
	}
}

// resetTarget is "to" as the server takes it.
func resetTarget(to string) (any, error) {
	switch {
	case to == "earliest" || to == "latest":
		return to, nil
	case strings.Contains(to, ":"):
		ms, err := milliseconds(to)
		return map[string]any{"ts_ms": ms}, err
	}
	offset, err := strconv.ParseUint(to, 10, 63)
	if err != nil {
		return nil, usagef("--to %q is not earliest, latest, an offset or a time", to)
	}
	return map[string]any{"offset": offset}, nil
}

func groupDelete(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		return s.printAnswer(call{method: http.MethodDelete, path: "/broker/groups/" + segment(args[0])})
	}
}

// commitCall moves a group on; offset is the next one to read. A second time changes nothing.
func commitCall(group, topic string, partition uint32, offset uint64) (call, error) {
	body, err := json.Marshal(map[string]any{"group": group, "topic": topic, "partition": partition, "offset": offset})
	return call{method: http.MethodPost, path: "/broker/commit", body: body, repeat: true}, err
}
