package main

import (
	"errors"
	"strings"
	"testing"
)

func redisConfig(workload string) *config {
	return &config{target: "redis", workload: workload, topic: "bench", size: 4}
}

func TestRESPCommand(t *testing.T) {
	d, err := newRESPDialect(redisConfig("produce"))
	if err != nil {
		t.Fatal(err)
	}
	got, op := d.request([]byte("before"), 3)
	want := "before*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nv\r\n$4\r\n" + string(payload(4)) + "\r\n"
	if string(got) != want || op != 0 {
		t.Errorf("request %q, want %q", got, want)
	}
	if _, err := newRESPDialect(redisConfig("ndjson")); err == nil {
		t.Error("a workload that Redis does not have was taken")
	}
}

func TestRESPRepliesCutAnywhere(t *testing.T) {
	text := "$15\r\n1700000000000-0\r\n" + "+PONG\r\n" + ":1000\r\n" + "$-1\r\n" +
		"-ERR wrong number of arguments\r\n" + "$0\r\n\r\n" + "-OOM command not allowed\r\n"
	everySplit(t, &respDialect{}, text, []string{"", "", "", "null", "ERR", "", "OOM"})
}

func TestRESPBroken(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"array":         {"*1\r\n", errNotRESP},
		"http":          {"HTTP/1.1 200 OK\r\n", errNotRESP},
		"bare newline":  {"+OK\n", errNotRESP},
		"only newline":  {"\n", errNotRESP},
		"word length":   {"$x\r\n", errNotRESP},
		"no end":        {"$2\r\nabXX", errNotRESP},
		"length at end": {"$999999999\r\n", errTooLarge},
	} {
		if _, err := feed(t, &respDialect{}, 1, test.text); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		}
	}
}

func TestRESPNeed(t *testing.T) {
	r, err := (&respDialect{}).reply([]byte("$10\r\nabc"), 0)
	if err != nil || r.used != 0 || r.need != 5+10+2 {
		t.Errorf("%+v, %v: want a need of 17", r, err)
	}
}

func FuzzRESPReply(f *testing.F) {
	for _, seed := range strings.Split("$3\r\nabc\r\n|-ERR x\r\n|+OK\r\n|$-1\r\n", "|") {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) { fuzzReply(t, &respDialect{}, text) })
}
