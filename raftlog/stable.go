package raftlog

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/hashicorp/raft"

	"ayder/aof"
)

// What a node must remember besides the log: its term and vote, the configurations of the cluster, whose cluster it
// belongs to, and which incarnation of each peer it has met. One small file, replaced as a whole: written under another
// name, synced, renamed, the directory synced. It changes at elections and membership changes only, so its cost does not
// matter and its text can be read: a checksum in hexadecimal, a newline, JSON.
//
// A disk that is full must not keep a node from voting: without a leader nobody would ever delete anything. So some space is
// held by a file that is removed when the state does not fit otherwise.

const (
	stateName    = "raft.state"
	stateTmpName = "raft.state.tmp"
	reserveName  = "raft.reserve"
)

// state is the file's content.
type state struct {
	Format         int               `json:"format"`
	Cluster        string            `json:"cluster,omitempty"` // 32 hexadecimal digits; empty until it is known
	Node           string            `json:"node"`
	Incarnation    string            `json:"incarnation"` // of this data directory
	Founding       bool              `json:"founding,omitempty"`
	Term           uint64            `json:"term"`
	VoteTerm       uint64            `json:"vote_term"`
	VoteFor        string            `json:"vote_for"`
	PatienceMs     int64             `json:"patience_ms,omitempty"`    // what this node last promised (lease.go)
	Lost           *logEnd           `json:"lost,omitempty"`           // what a damaged log had (heal.go)
	Configurations []configuration   `json:"configurations,omitempty"` // ascending; the newest configurationsKept
	Peers          map[string]string `json:"peers,omitempty"`          // incarnation by node id
}

// configuration is a committed configuration entry.
type configuration struct {
	Index   uint64   `json:"index"`
	Members []server `json:"members"`
}

type server struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
}

// stable is raft.StableStore and the rest of the state.
type stable struct {
	fsys aof.FS
	dir  string

	// turn is held by whoever changes the state, sync included; mu only while s is read or set, so that nobody who
	// asks waits for the disk. turn is a channel because goroutines that wait for it must let virtual time go on.
	turn chan struct{}
	// fatal ends a node whose state cannot be written: raft would go on with a term or vote that a restart forgets. Nil in tests.
	fatal func(error)
	// mayVote refuses votes that this node must not give; nil: none.
	mayVote func(candidate string) error
	mu      sync.Mutex
	s       state
}

// HasState tells whether dir belongs to a node of a cluster.
func HasState(fsys aof.FS, dir string) (bool, error) {
	f, err := fsys.Open(filepath.Join(dir, stateName), aof.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("raftlog: %w", err)
	}
	return true, f.Close()
}

// openStable reads the state in dir. A directory without one gets a new state, not yet written, and fresh is true.
func openStable(fsys aof.FS, dir, node string) (st *stable, fresh bool, err error) {
	st = &stable{fsys: fsys, dir: dir, turn: make(chan struct{}, 1)}
	b, err := readWhole(fsys, filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		st.s = state{Format: 1, Node: node, Incarnation: randomID()}
		return st, true, nil
	}
	if err == nil {
		st.s, err = decodeState(b)
	}
	if err != nil {
		return nil, false, fmt.Errorf("raftlog: %s: %w", filepath.Join(dir, stateName), err)
	}
	if st.s.Node != node {
		return nil, false, fmt.Errorf("raftlog: %s belongs to node %q, this is node %q", dir, st.s.Node, node)
	}
	return st, false, nil
}

func readWhole(fsys aof.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path, aof.ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b, nil
}

func decodeState(b []byte) (s state, err error) {
	sum, body, ok := bytes.Cut(b, []byte("\n"))
	if !ok || fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) != string(sum) {
		return s, errors.New("checksum mismatch")
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, err
	}
	if s.Format != 1 {
		return s, fmt.Errorf("format %d, this program reads 1", s.Format)
	}
	return s, nil
}

func encodeState(s *state) ([]byte, error) {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "%08x\n", crc32.Checksum(body, castagnoli)), body...), nil
}

// change applies fn to the state and makes it durable; after an error the state is as before.
func (st *stable) change(fn func(*state)) error {
	st.turn <- struct{}{}
	defer func() { <-st.turn }()
	s := st.get()
	s.Configurations = slices.Clone(s.Configurations)
	peers := make(map[string]string, len(s.Peers))
	for k, v := range s.Peers {
		peers[k] = v
	}
	s.Peers = peers
	fn(&s)
	b, err := encodeState(&s)
	if err == nil {
		err = st.write(b)
	}
	if err != nil {
		err = fmt.Errorf("raftlog: state: %w", err)
		if st.fatal != nil {
			st.fatal(err)
		}
		return err
	}
	st.mu.Lock()
	st.s = s
	st.mu.Unlock()
	st.reserve()
	return nil
}

// write replaces the file, at the expense of the reserve if need be.
func (st *stable) write(b []byte) error {
	err := st.replace(b)
	if errors.Is(err, syscall.ENOSPC) {
		if err = st.fsys.Remove(filepath.Join(st.dir, reserveName)); err == nil {
			err = st.replace(b)
		}
	}
	return err
}

// reserve makes the reserve if there is none. Where that fails there is none, and the next change tries again: what it
// protects against is rarer than what its own failure would stop.
func (st *stable) reserve() {
	path := filepath.Join(st.dir, reserveName)
	if f, err := st.fsys.Open(path, aof.ReadOnly); err == nil {
		size, err := f.Size()
		if err = errors.Join(err, f.Close()); err == nil && size == reserveBytes {
			return
		}
	}
	if err := st.put(path, make([]byte, reserveBytes)); err != nil {
		_ = st.fsys.Remove(path)
	}
}

// replace is write on a disk that has space.
func (st *stable) replace(b []byte) error {
	tmp := filepath.Join(st.dir, stateTmpName)
	if err := st.put(tmp, b); err != nil {
		return err
	}
	if err := st.fsys.Rename(tmp, filepath.Join(st.dir, stateName)); err != nil {
		return err
	}
	return st.fsys.SyncDir(st.dir)
}

// put writes a file and syncs it.
func (st *stable) put(path string, b []byte) error {
	f, err := st.fsys.Open(path, aof.Create)
	if err != nil {
		return err
	}
	n, err := f.WriteAt(b, 0)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// get returns a copy of the state; its slices and map are not changed later.
func (st *stable) get() state {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.s
}

// The keys that raft uses.
const (
	keyTerm     = "CurrentTerm"
	keyVoteTerm = "LastVoteTerm"
	keyVoteFor  = "LastVoteCand"
)

// Set implements raft.StableStore.
func (st *stable) Set(key, value []byte) error {
	if string(key) != keyVoteFor {
		return fmt.Errorf("raftlog: unknown state %q", key)
	}
	if st.mayVote != nil {
		if err := st.mayVote(string(value)); err != nil {
			return err
		}
	}
	return st.change(func(s *state) { s.VoteFor = string(value) })
}

// Get implements raft.StableStore.
func (st *stable) Get(key []byte) ([]byte, error) {
	if string(key) != keyVoteFor {
		return nil, fmt.Errorf("raftlog: unknown state %q", key)
	}
	return []byte(st.get().VoteFor), nil
}

// SetUint64 implements raft.StableStore.
func (st *stable) SetUint64(key []byte, v uint64) error {
	switch string(key) {
	case keyTerm:
		return st.change(func(s *state) { s.Term = v })
	case keyVoteTerm:
		return st.change(func(s *state) { s.VoteTerm = v })
	}
	return fmt.Errorf("raftlog: unknown state %q", key)
}

// GetUint64 implements raft.StableStore.
func (st *stable) GetUint64(key []byte) (uint64, error) {
	switch string(key) {
	case keyTerm:
		return st.get().Term, nil
	case keyVoteTerm:
		return st.get().VoteTerm, nil
	}
	return 0, fmt.Errorf("raftlog: unknown state %q", key)
}

// configured remembers a committed configuration. The newest few are kept: one of them holds at any index that a
// restart may begin from.
func (st *stable) configured(index uint64, c raft.Configuration) error {
	if all := st.get().Configurations; len(all) > 0 && all[len(all)-1].Index >= index {
		return nil
	}
	x := configuration{Index: index}
	for _, s := range c.Servers {
		x.Members = append(x.Members, server{string(s.ID), string(s.Address), s.Suffrage == raft.Voter})
	}
	return st.change(func(s *state) {
		s.Configurations = append(s.Configurations, x)
		s.Configurations = s.Configurations[max(0, len(s.Configurations)-configurationsKept):]
		s.Founding = false
		for id := range s.Peers { // who was removed may come back with another directory
			if !x.names(id) {
				delete(s.Peers, id)
			}
		}
	})
}

// configurationAt is the configuration in force at index; ok is false if none is known.
func (st *stable) configurationAt(index uint64) (c raft.Configuration, at uint64, ok bool) {
	for _, x := range slices.Backward(st.get().Configurations) {
		if x.Index <= index {
			return x.raft(), x.Index, true
		}
	}
	return c, 0, false
}

func (c *configuration) names(id string) bool {
	return slices.ContainsFunc(c.Members, func(m server) bool { return m.ID == id })
}

func (c *configuration) raft() raft.Configuration {
	var r raft.Configuration
	for _, s := range c.Members {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		r.Servers = append(r.Servers, raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address), Suffrage: suffrage})
	}
	return r
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// randomID is 32 hexadecimal digits.
func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// idBytes is a random id as 16 bytes; zero for an empty one.
func idBytes(id string) (b [16]byte) {
	_, _ = hex.Decode(b[:], []byte(id))
	return b
}
