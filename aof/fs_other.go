//go:build unix && !linux

package aof

// Elsewhere a durable write is a write and a sync (on Darwin os.File.Sync is F_FULLFSYNC, which reaches the disk).

// openBlocks opens for whole-block writes, durable ones if dsync is set.
func openBlocks(path string, flags int, dsync bool) (File, error) {
	f, err := openFile(path, flags)
	if err != nil {
		return nil, err
	}
	f.(*osFile).syncEach = dsync
	return f, nil
}
