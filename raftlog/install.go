package raftlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"ayder/aof"
)

// Catching up from too far behind: the leader no longer has the entries that a follower needs, so the follower takes the
// leader's checkpoint and sealed segments as files and goes on from there.
//
// Raft's snapshot is only the offer: a list of files with their sizes. The follower pulls each over the transport's bulk
// stream into a directory beside its log, going on where a broken connection stopped, syncs them, and writes the list there
// last: from that moment on the directory is complete. Then the program starts over (Options.Restart), because
// everything it has in memory is of the log that goes away, and FinishInstall puts the files in place before the log is
// opened. A crash at any point leaves either the old log or a complete list to finish by. What the files hold is verified by
// whoever opens them: every frame has its checksum.
//
// A checkpoint at the end of a sealed segment is made whenever one is full. A leader that has no such pair when somebody needs it,
// because it started lately, seals the segment that it writes to and makes one (prepareOffer).

const (
	installDir    = "incoming"
	installList   = "complete.json"
	offerBytesMax = 8 << 20
)

// offer is what a snapshot consists of.
type offer struct {
	Index uint64      `json:"index"` // of the checkpoint
	Term  uint64      `json:"term"`
	Files []offerFile `json:"files"` // oldest segment first, the checkpoint last
}

// offerFile is one of them. ID is empty where an older version makes the offer.
type offerFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	ID   string `json:"id,omitempty"`
}

// request is how the file is asked for, and its name among what has come: by its id too, because a leader gives space back by putting another file in
// the place of a segment, and another leader's file of that name is another one. What came of one must not go on with the other.
func (f *offerFile) request() string {
	if f.ID == "" {
		return f.Name
	}
	return f.Name + "@" + f.ID
}

// snapshots is raft.SnapshotStore. To raft, the newest snapshot is the newest checkpoint.
type snapshots struct {
	node *Node
	base base // where this run began
}

// base is a point from which raft can go on.
type base struct {
	index, term   uint64
	configuration raft.Configuration
	configIndex   uint64
}

func (b *base) meta() *raft.SnapshotMeta {
	return &raft.SnapshotMeta{
		Version: 1, ID: fmt.Sprint(b.index), Index: b.index, Term: b.term,
		Configuration: b.configuration, ConfigurationIndex: b.configIndex,
	}
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	if err := s.node.prepareOffer(s.base.index); err != nil {
		return nil, err
	}
	b := s.base
	if mark := s.node.checkpoint.Load(); mark > b.index {
		newer, err := s.node.baseAt(mark)
		if err != nil {
			return nil, err
		}
		b = newer
	}
	if b.index == 0 {
		return nil, nil
	}
	return []*raft.SnapshotMeta{b.meta()}, nil
}

// Open implements raft.SnapshotStore.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	all, err := s.List()
	if err != nil || len(all) == 0 || all[0].ID != id {
		return nil, nil, errors.Join(fmt.Errorf("raftlog: no snapshot %s", id), err)
	}
	m := all[0]
	body, err := s.node.offer(m)
	if err != nil {
		return nil, nil, err
	}
	m.Size = int64(len(body))
	return m, io.NopCloser(bytes.NewReader(body)), nil
}

// Create implements raft.SnapshotStore: a leader sends an offer.
func (s *snapshots) Create(_ raft.SnapshotVersion, index, _ uint64, c raft.Configuration, configIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{node: s.node, index: index, configuration: c, configIndex: configIndex}, nil
}

// prepareOffer makes sure, on a leader, that there are files to offer: the newest checkpoint, which began at index from if
// there was none since, is at the end of a sealed segment.
func (n *Node) prepareOffer(from uint64) error {
	if !n.running() || !n.leading.Load() || n.o.Checkpoint == nil {
		return nil
	}
	select { // a turn: several peers may be far behind
	case n.offering <- struct{}{}:
		defer func() { <-n.offering }()
	case <-n.stop:
		return ErrStopped
	}
	sealed := false
	for end := time.Now().Add(offerWait); n.leading.Load() && time.Now().Before(end); {
		_, err := n.o.Log.Files(max(from, n.checkpoint.Load()))
		if !isNotFound(err) {
			return err
		}
		last := n.o.Log.Sealed()
		if sealed = sealed || n.o.Log.Roll() || last == n.o.Log.LastIndex(); sealed && last > n.checkpoint.Load() {
			n.o.Checkpoint(last)
		}
		if !n.pause(offerPoll) {
			return ErrStopped
		}
	}
	return errors.New("raftlog: there is no checkpoint at the end of a segment yet")
}

// offer lists the files that make up the state at m and the log before it, as JSON.
func (n *Node) offer(m *raft.SnapshotMeta) ([]byte, error) {
	files, err := n.o.Log.Files(m.Index)
	if err != nil {
		return nil, fmt.Errorf("raftlog: offer: %w", err)
	}
	o := offer{Index: m.Index, Term: m.Term}
	for _, f := range files {
		o.Files = append(o.Files, offerFile{f.Name, f.Size, f.ID})
	}
	return json.Marshal(&o)
}

// Offering tells that a node fetched one of this node's files a moment ago: they should stay as they are for now. (An offer alone says
// nothing, for raft makes one again and again to a node that is not there.)
func (n *Node) Offering() bool {
	return time.Now().UnixNano()-n.fetched.Load() < int64(offerPause)
}

// bulk serves a pull: a file of the log.
func (n *Node) bulk(_ hello, name string, offset int64) (io.ReadCloser, int64, error) {
	name, id, _ := strings.Cut(name, "@")
	if name != filepath.Base(name) || !offered(name) {
		return nil, 0, fmt.Errorf("no file %q", name)
	}
	n.fetched.Store(time.Now().UnixNano())
	f, err := os.Open(filepath.Join(n.o.Dir, name))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && id != "" {
		err = mustBeFile(f, id)
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// mustBeFile refuses a file that has taken the place of the one that was offered.
func mustBeFile(f *os.File, id string) error {
	switch is, err := aof.FileID(f); {
	case err != nil:
		return err
	case is != id:
		return fmt.Errorf("%s is another file by now", filepath.Base(f.Name()))
	}
	return nil
}

// offered tells whether a file of that name is the log's to give away.
func offered(name string) bool {
	return strings.HasSuffix(name, ".aof") || strings.HasPrefix(name, "checkpoint-") && strings.HasSuffix(name, ".ckp")
}

// sink receives an offer and, when it is complete, everything that it lists.
type sink struct {
	node          *Node
	index         uint64
	configuration raft.Configuration
	configIndex   uint64
	body          []byte
}

// ID implements raft.SnapshotSink.
func (s *sink) ID() string { return fmt.Sprint(s.index) }

// Cancel implements raft.SnapshotSink.
func (s *sink) Cancel() error { return nil }

// Write implements raft.SnapshotSink.
func (s *sink) Write(p []byte) (int, error) {
	if len(s.body)+len(p) > offerBytesMax {
		return 0, fmt.Errorf("raftlog: an offer of more than %d bytes", offerBytesMax)
	}
	s.body = append(s.body, p...)
	return len(p), nil
}

// Close implements raft.SnapshotSink. It returns an error or not at all: the program starts over.
func (s *sink) Close() error {
	n := s.node
	var o offer
	if err := json.Unmarshal(s.body, &o); err != nil {
		return fmt.Errorf("raftlog: offer: %w", err)
	}
	select {
	case <-n.started: // raft takes offers before Start has it
	case <-n.stop:
		return ErrStopped
	}
	leader, ok := n.Leader()
	if !ok {
		return errors.New("raftlog: an offer from nobody")
	}
	n.o.Logger.Info("too far behind: the leader's files are fetched", "node", n.o.NodeID, "leader", leader.ID, "files", len(o.Files), "index", o.Index)
	dir := filepath.Join(n.o.Dir, installDir)
	if err := n.fetch(dir, leader.RaftAddr, &o); err != nil {
		return fmt.Errorf("raftlog: fetch: %w", err)
	}
	if err := n.stable.configured(s.configIndex, s.configuration); err != nil {
		return err
	}
	err := aof.WriteSynced(filepath.Join(dir, installList), s.body)
	if err == nil {
		err = aof.OS().SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("raftlog: %w", err)
	}
	if n.o.Restart == nil {
		return errors.New("raftlog: the files are there; start the node again to use them")
	}
	return n.o.Restart()
}

// fetch brings every file of the offer into dir and syncs it. What is there already is kept, if the offer is the same.
func (n *Node) fetch(dir, addr string, o *offer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := removeOthers(dir, o); err != nil {
		return err
	}
	for _, f := range o.Files {
		if f.Name != filepath.Base(f.Name) || !offered(f.Name) || strings.Trim(f.ID, "0123456789abcdef") != "" {
			return fmt.Errorf("the offer names %q", f.request())
		}
		for tries := 0; ; tries++ {
			err := n.fetchFile(filepath.Join(dir, f.request()), addr, f)
			if err == nil {
				break
			}
			if tries == fetchTries {
				return err
			}
			n.o.Logger.Warn("fetching goes on after a fault", "file", f.Name, "error", err)
			select {
			case <-n.stop:
				return ErrStopped
			case <-time.After(fetchPause):
			}
		}
	}
	return aof.OS().SyncDir(dir)
}

// removeOthers removes what came of other offers.
func removeOthers(dir string, o *offer) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.ContainsFunc(o.Files, func(f offerFile) bool { return f.request() == e.Name() }) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) fetchFile(path, addr string, f offerFile) (err error) {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > f.Size { // of another offer
		have = 0
		if err := out.Truncate(0); err != nil {
			return err
		}
	}
	if have < f.Size {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		in, _, err := n.transport.pull(ctx, addr, f.request(), have)
		if err != nil {
			return err
		}
		defer in.Close()
		if _, err := io.Copy(io.NewOffsetWriter(out, have), io.LimitReader(in, f.Size-have)); err != nil {
			return err
		}
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if info, err := out.Stat(); err != nil || info.Size() != f.Size {
		return errors.Join(fmt.Errorf("%s has not the size that was offered", f.Name), err)
	}
	return nil
}

// FinishInstall puts files that were fetched completely in the place of the log in dir. To be called before anything in dir
// is opened. It can be interrupted and called again.
func FinishInstall(dir string) (installed bool, err error) {
	from := filepath.Join(dir, installDir)
	body, err := os.ReadFile(filepath.Join(from, installList))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var o offer
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		return false, fmt.Errorf("raftlog: install: %w", err)
	}
	if err := replaceLog(dir, from, &o); err != nil {
		return false, fmt.Errorf("raftlog: install: %w", err)
	}
	return true, nil
}

func replaceLog(dir, from string, o *offer) error {
	wanted := make(map[string]bool, len(o.Files))
	for _, f := range o.Files {
		wanted[f.Name] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if aof.Owns(e.Name()) && !wanted[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for _, f := range o.Files {
		err := os.Rename(filepath.Join(from, f.request()), filepath.Join(dir, f.Name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // moved before an interruption
			return err
		}
	}
	if err := aof.OS().SyncDir(dir); err != nil {
		return err
	}
	return os.RemoveAll(from)
}
