package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

// Topics. Settings that are not given are left to the server, so its defaults count; sizes take KiB, MiB and GiB,
// times are durations like 24h. What changes a topic prints the server's answer, what shows one a table, or the answer
// with --json-answer.

var topicCommands = []command{
	{name: "topic list", count: [2]int{0, 0}, help: "List the topics", build: topicList},
	{name: "topic create", args: "NAME", count: [2]int{1, 1}, help: "Create a topic", build: topicCreate},
	{name: "topic describe", args: "NAME", count: [2]int{1, 1}, help: "Show a topic's settings and the extent of its partitions", build: topicDescribe},
	{name: "topic delete", args: "NAME", count: [2]int{1, 1}, help: "Delete a topic with all its messages", build: topicDelete},
	{name: "topic grow", args: "NAME PARTITIONS", count: [2]int{2, 2}, help: "Give a topic more partitions", build: topicGrow},
	{name: "topic delete-before", args: "NAME PARTITION OFFSET", count: [2]int{3, 3}, help: "Delete a partition's messages below an offset", build: topicDeleteBefore},
	{name: "topic retention", args: "NAME|'*'", count: [2]int{1, 1}, help: "Set how long and how much a topic keeps; 0 clears", build: topicRetention},
}

// topic is what the server says of one.
type topic struct {
	Name       string `json:"topic"`
	Partitions uint32 `json:"partitions"`
	Mode       string `json:"mode"`
	TTLMs      uint64 `json:"ttl_ms"`
	MaxBytes   uint64 `json:"max_bytes"`
	List       []struct {
		Partition uint32 `json:"partition"`
		Earliest  uint64 `json:"earliest_offset"`
		Next      uint64 `json:"next_offset"`
		Messages  uint64 `json:"messages"`
		Bytes     uint64 `json:"bytes"`
	} `json:"partition_list"`
}

func topicList(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, _ []string) error {
		var answer struct {
			Topics []topic `json:"topics"`
		}
		if done, err := s.get("/broker/topics", nil, &answer); done || err != nil {
			return err
		}
		var rows []string
		for _, t := range answer.Topics {
			rows = append(rows, fmt.Sprintf("%s\t%d\t%s\t%d\t%d", t.Name, t.Partitions, t.Mode, t.TTLMs, t.MaxBytes))
		}
		return s.table("TOPIC\tPARTITIONS\tMODE\tTTL_MS\tMAX_BYTES", rows)
	}
}

func topicCreate(f *pflag.FlagSet) func(*session, []string) error {
	partitions := f.Uint32("partitions", 0, "how many (default the server's)")
	mode := f.String("mode", "", "sealed, on disk before it is acknowledged, or rocket, in memory only")
	ttl := f.Duration("ttl", 0, "age at which messages may go")
	size := f.String("max-bytes", "0", "size of a partition beyond which the oldest messages may go")
	return func(s *session, args []string) error {
		most, err := parseSize(*size)
		if err != nil {
			return err
		}
		command := map[string]any{"name": args[0]}
		if *partitions > 0 {
			command["partitions"] = *partitions
		}
		if *mode != "" {
			command["mode"] = *mode
		}
		if *ttl > 0 {
			command["ttl_ms"] = ttl.Milliseconds()
		}
		if most > 0 {
			command["max_bytes"] = most
		}
		return s.post("/broker/topics", command)
	}
}

func topicDescribe(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		var t topic
		if done, err := s.get("/broker/topics/"+segment(args[0]), nil, &t); done || err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%s: %s, %d partitions, ttl_ms %d, max_bytes %d\n", t.Name, t.Mode, t.Partitions, t.TTLMs, t.MaxBytes)
		var rows []string
		for _, p := range t.List {
			rows = append(rows, fmt.Sprintf("%d\t%d\t%d\t%d\t%d", p.Partition, p.Earliest, p.Next, p.Messages, p.Bytes))
		}
		return s.table("PARTITION\tEARLIEST\tNEXT\tMESSAGES\tBYTES", rows)
	}
}

func topicDelete(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		return s.printAnswer(call{method: http.MethodDelete, path: "/broker/topics/" + segment(args[0])})
	}
}

func topicGrow(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		n, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil {
			return usagef("PARTITIONS: %v", err)
		}
		return s.post("/broker/topics/"+segment(args[0])+"/partitions", map[string]any{"partitions": n})
	}
}

func topicDeleteBefore(*pflag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		partition, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil {
			return usagef("PARTITION: %v", err)
		}
		offset, err := strconv.ParseUint(args[2], 10, 63)
		if err != nil {
			return usagef("OFFSET: %v", err)
		}
		return s.post("/broker/delete-before", map[string]any{"topic": args[0], "partition": partition, "before_offset": offset})
	}
}

func topicRetention(f *pflag.FlagSet) func(*session, []string) error {
	partition := f.Uint32("partition", 0, "of this partition only")
	ttl := f.Duration("ttl", 0, "age at which messages go")
	size := f.String("max-bytes", "", "size of a partition beyond which the oldest messages go")
	return func(s *session, args []string) error {
		command := map[string]any{"topic": args[0]}
		if f.Changed("partition") {
			command["partition"] = *partition
		}
		if f.Changed("ttl") {
			command["ttl_ms"] = ttl.Milliseconds()
		}
		if f.Changed("max-bytes") {
			most, err := parseSize(*size)
			if err != nil {
				return err
			}
			command["max_bytes"] = most
		}
		return s.post("/broker/retention", command)
	}
}

// milliseconds is a point in time as the server counts.
func milliseconds(text string) (int64, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, usagef("time %q is not like 2026-01-31T12:00:00Z", text)
	}
	return at.UnixMilli(), nil
}
