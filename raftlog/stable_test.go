package raftlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"ayder/aof"
	"ayder/internal/testkit"
)

func openState(t *testing.T, dir string) (*stable, bool) {
	t.Helper()
	st, fresh, err := openStable(aof.OS(), dir, "n1")
	if err != nil {
		t.Fatal(err)
	}
	return st, fresh
}

func TestStateSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	st, fresh := openState(t, dir)
	if !fresh {
		t.Fatal("an empty directory is not fresh")
	}
	if ok, err := HasState(aof.OS(), dir); ok || err != nil {
		t.Fatal("nothing was written yet:", ok, err)
	}
	for _, err := range []error{
		st.SetUint64([]byte(keyTerm), 7), st.SetUint64([]byte(keyVoteTerm), 6), st.Set([]byte(keyVoteFor), []byte("n2")),
		st.configured(10, raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a:1"}}}),
		st.configured(20, raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a:1"}, {ID: "n2", Address: "b:1", Suffrage: raft.Nonvoter}}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again, fresh := openState(t, dir)
	if fresh {
		t.Fatal("the state was not found")
	}
	term, _ := again.GetUint64([]byte(keyTerm))
	voted, _ := again.GetUint64([]byte(keyVoteTerm))
	vote, _ := again.Get([]byte(keyVoteFor))
	if term != 7 || voted != 6 || string(vote) != "n2" || again.get().Incarnation != st.get().Incarnation {
		t.Fatalf("%+v", again.get())
	}
	if _, _, ok := again.configurationAt(9); ok {
		t.Fatal("a configuration before the first")
	}
	if c, at, _ := again.configurationAt(19); at != 10 || len(c.Servers) != 1 {
		t.Fatal(at, c)
	}
	if c, at, _ := again.configurationAt(99); at != 20 || len(c.Servers) != 2 || c.Servers[1].Suffrage != raft.Nonvoter {
		t.Fatal(at, c)
	}
}

// A configuration that comes again, after a restart, changes nothing.
func TestConfigurationsGrow(t *testing.T) {
	st, _ := openState(t, t.TempDir())
	for i := range uint64(configurationsKept + 10) {
		for range 2 {
			if err := st.configured(i+1, raft.Configuration{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := st.get().Configurations
	if len(all) != configurationsKept || all[len(all)-1].Index != configurationsKept+10 {
		t.Fatal(len(all), all[len(all)-1].Index)
	}
}

func TestStateThatCannotBeRead(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"a changed digit":   func(s string) string { return strings.Replace(s, `"term": 7`, `"term": 8`, 1) },
		"no checksum":       func(s string) string { return s[strings.Index(s, "{"):] },
		"nothing":           func(string) string { return "" },
		"another node's":    nil,
		"a foreign version": func(string) string { b, _ := encodeState(&state{Format: 2, Node: "n1"}); return string(b) },
	} {
		dir := t.TempDir()
		st, _ := openState(t, dir)
		if err := st.SetUint64([]byte(keyTerm), 7); err != nil {
			t.Fatal(err)
		}
		node := "n2"
		if damage != nil {
			node = "n1"
			path := filepath.Join(dir, stateName)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(damage(string(b))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := openStable(aof.OS(), dir, node); err == nil {
			t.Error(name, "was accepted")
		}
	}
}

// A write that fails leaves what was there, in memory and on disk.
func TestStateThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	st, _ := openState(t, dir)
	if err := st.SetUint64([]byte(keyTerm), 7); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, stateTmpName), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := st.SetUint64([]byte(keyTerm), 8); err == nil {
		t.Fatal("written over a directory")
	}
	again, _ := openState(t, dir)
	for _, s := range []*stable{st, again} {
		if term, _ := s.GetUint64([]byte(keyTerm)); term != 7 {
			t.Fatal("term", term)
		}
	}
}

// A full disk keeps nobody from voting: the state has a reserve, and gets it back when there is space.
func TestStateOnAFullDisk(t *testing.T) {
	m := testkit.NewMemFS(1)
	st, _, err := openStable(m, "/d", "n1")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetUint64([]byte(keyTerm), 1); err != nil {
		t.Fatal(err)
	}
	m.SetSpace(0)
	for term := uint64(2); term < 100; term++ {
		if err := st.SetUint64([]byte(keyTerm), term); err != nil {
			t.Fatalf("term %d: %v", term, err)
		}
	}
	m.Crash()
	again, fresh, err := openStable(m, "/d", "n1")
	if err != nil || fresh || again.get().Term != 99 {
		t.Fatal(again, fresh, err)
	}
	m.SetSpace(-1)
	if err := again.SetUint64([]byte(keyTerm), 100); err != nil {
		t.Fatal(err)
	}
	if b, ok := m.Get("/d/" + reserveName); !ok || len(b) != reserveBytes {
		t.Fatalf("%d bytes in reserve", len(b))
	}
}
