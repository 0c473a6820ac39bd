package main

import "golang.org/x/sys/unix"

// diskSpace is what the file system of dir has left for a program without privileges, and its size, in bytes; zeros if it does not say.
func diskSpace(dir string) (free, size uint64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	block := uint64(st.Bsize)
	return uint64(st.Bavail) * block, uint64(st.Blocks) * block
}
