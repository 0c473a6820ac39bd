package cli

import (
	"net/http"

	"github.com/spf13/pflag"
)

// What a container engine, a script or a unit asks: does the server answer, does it take writes. The exit code says it.

var healthCommands = []command{
	{name: "health", count: [2]int{0, 0}, help: "Ask whether a server serves, or with --ready whether it can take writes: exit code 0 or 1", build: health},
}

func health(f *pflag.FlagSet) func(*session, []string) error {
	ready := f.Bool("ready", false, "ask whether it can take writes: not while it recovers, has no leader or a failed disk")
	wait := f.Duration("wait", 0, "how long to wait for it")
	return func(s *session, _ []string) error {
		s.client.retry = *wait
		q := call{method: http.MethodGet, path: "/health", repeat: true}
		if *ready {
			q.path = "/ready"
		}
		return s.printAnswer(q)
	}
}
