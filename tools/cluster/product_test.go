package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ayder/internal/testkit/proc"
)

// TestTheProduct starts real servers, kills the leader and sees another one lead.
func TestTheProduct(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	r := start(t, "-bin", proc.Binary(t), "--", "--segment-bytes", "8MiB", "--body-bytes", "1MiB")
	r.says(`\^C ends all`)
	leaders := regexp.MustCompile(`(?m)^ *(node\d) .*leads, term \d+$`).FindAllStringSubmatch(r.out.String(), -1)
	leader := leaders[len(leaders)-1][1] // on a slow machine it may not be the first any more
	pid, err := strconv.Atoi(r.says(leader + ` .* pid (\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if next := r.says(`(?s)` + leader + ` \(pid \d+\) has ended: signal: killed.*\n(node\d) leads, term \d+\n`)[1]; next == leader {
		t.Errorf("%s leads although it is dead", next)
	}
	r.stops()
	for _, id := range []string{"node1", "node2", "node3"} {
		if log := r.log(id); id != leader && !strings.Contains(log, "handing leadership over") && !strings.Contains(log, "stopping") {
			t.Errorf("%s was not stopped as asked:\n%s", id, log)
		}
		if _, err := os.Stat(filepath.Join(r.dir, id)); err != nil {
			t.Error(err)
		}
	}
}
