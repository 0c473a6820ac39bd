package main

import (
	"os"
	"path/filepath"
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
	found := r.says(`(?m)^  (node\d) .* pid (\d+)  leads, term (\d+)$`)
	pid, err := strconv.Atoi(found[2])
	if err != nil {
		t.Fatal(err)
	}
	r.says(`\^C ends all`)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.says(found[1] + ` \(pid \d+\) has ended: signal: killed`)
	if next := r.says(`(?m)^(node\d) leads, term (\d+)$`); next[1] == found[1] {
		t.Errorf("%s leads although it is dead", next[1])
	}
	r.stops()
	for _, id := range []string{"node1", "node2", "node3"} {
		if log := r.log(id); id != found[1] && !strings.Contains(log, "handing leadership over") && !strings.Contains(log, "stopping") {
			t.Errorf("%s was not stopped as asked:\n%s", id, log)
		}
		if _, err := os.Stat(filepath.Join(r.dir, id)); err != nil {
			t.Error(err)
		}
	}
}
