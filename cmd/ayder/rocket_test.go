package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// TestRocketMessagesAreLostAndTheirOffsetsAreNot kills a server with messages in memory, stops another in good order, and looks for
// the messages in every file that they left.
func TestRocketMessagesAreLostAndTheirOffsetsAreNot(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		o.Dir = t.TempDir()
		o.Env = append(o.Env, "RF_ROCKET=1", "AYDER_ROCKET_BYTES=64MiB")
		const marker = "only in memory"
		for life := range uint64(4) {
			s := proc.Run(t, o)
			c := s.Connect(t)
			first := life << 32
			for i := range uint64(300) {
				a, err := c.Produce("r", 0, []byte(strings.Repeat(marker, 1000)))
				if err != nil || a.Offset != first+i || a.Durable || a.Sealed || a.Mode != "rocket" || a.BatchID != 0 || a.Synced == nil || *a.Synced {
					t.Fatalf("life %d, message %d: %+v %v", life, i, a, err)
				}
			}
			if life > 0 {
				gone, err := c.Get(fmt.Sprintf("/broker/consume/r/g/0?offset=%d", first-1))
				if err != nil || gone.Status != 410 || !strings.Contains(string(gone.Body), fmt.Sprintf(`"earliest_offset":%d,`, first)) {
					t.Fatalf("life %d, below it: %s %v", life, gone.String(), err)
				}
			}
			// The group's commit of the last life is below the floor: it starts at the floor.
			p, err := c.Get("/broker/consume/r/g/0?limit=1")
			if err != nil || !strings.Contains(string(p.Body), fmt.Sprintf(`"offset":%d,`, first)) {
				t.Fatalf("life %d: %s %v", life, p.String(), err)
			}
			if err := c.Commit("r", "g", 0, first+200); err != nil {
				t.Fatal(err)
			}
			if p, err = c.Get("/broker/consume/r/g/0?limit=1"); err != nil || !strings.Contains(string(p.Body), fmt.Sprintf(`"offset":%d,`, first+200)) {
				t.Fatalf("life %d: %s %v", life, p.String(), err)
			}
			if life%2 == 0 {
				err = s.Kill()
			} else {
				_, err = s.Terminate(proc.HangGuard)
			}
			if err != nil {
				t.Fatal(err)
			}
			mustNotBeOnDisk(t, o.Dir, []byte(marker))
		}
	})
}

func mustNotBeOnDisk(t *testing.T, dir string, what []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, what) {
			t.Errorf("%s holds a rocket topic's message", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
