package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notSource are directories in which there is nothing that a build needs, most of it made by those who use the tree.
var notSource = []string{"bin", "data", "dist", "node_modules", "out", "run", "testdata"}

// CopySource copies what a build of the module needs to a directory: the named files and directories of the module's root, all of them
// if none is named. A temporary file of somebody else that goes meanwhile is left out.
func CopySource(tb testing.TB, to string, names ...string) {
	tb.Helper()
	root, err := ModuleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	for _, name := range names {
		if err := filepath.WalkDir(filepath.Join(root, name), copier(root, to)); err != nil {
			tb.Fatal(err)
		}
	}
}

func copier(root, to string) fs.WalkDirFunc {
	return func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && d != nil {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains(notSource, d.Name())):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		var text []byte
		if err == nil {
			text, err = os.ReadFile(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		copied := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			return err
		}
		return os.WriteFile(copied, text, info.Mode().Perm())
	}
}
