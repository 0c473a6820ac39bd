package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestParseConfig(t *testing.T) {
	c, err := parseConfig([]string{"-target", "redis", "-c", "400", "-d", "3s", "-rate", "1000"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.addr != "127.0.0.1:6379" || c.connections != 400 || c.duration != 3*time.Second || c.rate != 1000 {
		t.Errorf("%+v", c)
	}
}

func TestParseConfigDefaults(t *testing.T) {
	c, err := parseConfig(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.addr != "127.0.0.1:1109" || c.token != "dev" || c.size != 64 || c.workload != "produce" || c.pipeline != 1 {
		t.Errorf("%+v", c)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for _, args := range []string{
		"-target mysql", "-c 0", "-c 100000", "-pipeline 0", "-size -1", "-limit 0", "-rate -1", "-d 0s", "-lines 0",
		"-workload ndjson -size 1", "-prefill 10 -size 0", "-stages -target redis", "-topic a\r\nb", "-partitions 5000", "stray",
		"-n -1", "-nonsense", "-engine kqueue", "-workload ndjson -lines 1000000 -size 1000",
	} {
		list := strings.Split(args, " ")
		if c, err := parseConfig(list, io.Discard); err == nil {
			t.Errorf("%q gave %+v", args, c)
		}
	}
}

func TestHelpShowsExamplesAndFlags(t *testing.T) {
	var out bytes.Buffer
	if _, err := parseConfig([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"open loop", "-hgrm", "-target redis"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not mention %q", want)
		}
	}
	if code := run([]string{"-h"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestDialectOfTarget(t *testing.T) {
	for target, want := range map[string]string{"ayder": "produce", "redis": "XADD", "nats": "publish", "floor": "floor"} {
		c := testConfig("produce")
		c.target = target
		d, err := c.dialect()
		if err != nil {
			t.Fatal(err)
		}
		if got := names(d); len(got) != 1 || got[0] != want {
			t.Errorf("%s: operations %v, want %s", target, got, want)
		}
	}
	c := testConfig("dance")
	if _, err := c.dialect(); err == nil {
		t.Error("an unknown workload was taken")
	}
}
