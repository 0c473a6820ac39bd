// Command live measures how fast what is produced reaches those who wait for it:
//
//	fan-out    one producer at a fixed rate, many followers of one partition over server-sent events. The value of a
//	           message is the moment at which it was due, so that a delivery's latency includes whatever kept it from being
//	           sent on time (no coordinated omission)
//	wake-up    one consumer with wait_ms, one message at a time: from the produce being sent until the answer to the
//	           waiting request is there, beside the time until the produce's own answer
//
// All followers are read by one thread over epoll (followers_linux.go), which looks for ids and values in the raw bytes
// and parses nothing, because a thousand followers at a thousand messages a second are a million events a second,
// on the machine that serves them. It checks that each follower gets every offset once, in order.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"ayder/bench/result"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// config is what the flags say.
type config struct {
	addr      string
	followers int
	rate      int
	size      int
	seconds   int
	wakes     int
	token     string
	json      bool
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var c config
	f := flag.NewFlagSet("live", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.addr, "addr", "127.0.0.1:1109", "the server, host:port")
	f.IntVar(&c.followers, "followers", 1000, "streams of the one partition; 0: no fan-out")
	f.IntVar(&c.rate, "rate", 1000, "messages per second")
	f.IntVar(&c.size, "size", 64, "bytes of a message, 20 at least")
	f.IntVar(&c.seconds, "seconds", 10, "length of the fan-out")
	f.IntVar(&c.wakes, "wakes", 1000, "long-polls that are woken, one after the other; 0: none")
	f.StringVar(&c.token, "token", "dev", "bearer token")
	f.BoolVar(&c.json, "json", false, "print one JSON object: percentiles in microseconds by name")
	if err := f.Parse(args); err != nil {
		return 2
	}
	err := c.check()
	got := figures{}
	if err == nil && c.followers > 0 {
		err = fanOut(&c, got)
	}
	if err == nil && c.wakes > 0 {
		err = wakeUps(&c, got)
	}
	if err == nil {
		err = got.print(&c, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "live:", err)
		return 1
	}
	return 0
}

func (c *config) check() error {
	if c.size < stampBytes || c.rate < 1 || c.seconds < 1 || c.followers < 0 || c.wakes < 0 {
		return errors.New("a size below 20, or a number that makes no sense")
	}
	return nil
}

const (
	stampBytes   = 20                      // of the time at the start of a value: nanoseconds, decimal, with zeros in front
	latencyNsMax = int64(60 * time.Second) // of the histograms
	answerWait   = 30 * time.Second        // for one answer, or for the last events
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, latencyNsMax, 3) }

func record(h *hdrhistogram.Histogram, d time.Duration) {
	if h.RecordValue(min(max(int64(d), 0), latencyNsMax)) != nil {
		panic("bug: latency outside the histogram")
	}
}

// figures are what was measured: "load" is from a message's due time to its answer while followers are fed, "delivery" to
// its arrival at each of them, "produce" and "wake-up" from sending to the producer's and the waiting consumer's answer.
type figures map[string]result.Percentiles

var figureNames = []string{"load", "delivery", "produce", "wake-up"}

func (f figures) print(c *config, w io.Writer) error {
	if c.json {
		return json.NewEncoder(w).Encode(f)
	}
	for _, name := range figureNames {
		if p, ok := f[name]; ok {
			fmt.Fprintf(w, "%-9s n %d  p50 %.0f µs  p90 %.0f µs  p99 %.0f µs  p99.9 %.0f µs  max %.0f µs\n", name, p.Count, p.P50, p.P90, p.P99, p.P999, p.Max)
		}
	}
	return nil
}
