package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// The same source, in another directory and at another time, gives the same bytes.
func TestTheSameSourceGivesTheSameFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program four times")
	}
	root := inTree(t)
	var sums [2]string
	for i := range sums {
		from, out := root, t.TempDir()
		if i == 1 {
			from = t.TempDir()
			proc.CopySource(t, from)
		}
		t.Chdir(from)
		args := []string{"-version", "v9.8.7-3-gabc", "-revision", "abc", "-out", out, "-targets", "linux/amd64"}
		if _, err := exec.LookPath("dpkg-deb"); err != nil {
			args = append(args, "-deb=false")
		}
		var said bytes.Buffer
		if code := run(args, &said, &said); code != 0 {
			t.Fatal(said.String())
		}
		text, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		if sums[i] = string(text); i == 0 {
			lookInside(t, out)
		}
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") < 2 {
		t.Errorf("here\n%sin a copy\n%s", sums[0], sums[1])
	}
}

// inTree goes to the root of the tree and sets the time of what is made there.
func inTree(t *testing.T) string {
	t.Helper()
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	t.Chdir(root)
	return root
}

// lookInside unpacks what was made and looks whether it is all there.
func lookInside(t *testing.T, out string) {
	t.Helper()
	f, err := os.Open(filepath.Join(out, "ayder_v9.8.7-3-gabc_linux_amd64.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		names = append(names, name)
	}
	if want := "CHANGELOG.md LICENSE README.md ayder completions/_ayder completions/ayder.bash completions/ayder.fish man/ayder.1"; strings.Join(names, " ") != want {
		t.Errorf("the archive holds %v", names)
	}
	text, err := os.ReadFile(filepath.Join(out, "ayder_v9.8.7-3-gabc_linux_amd64.spdx.json"))
	var d spdxDocument
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, p := range d.Packages {
		if ids[p.ID] {
			t.Error("twice:", p.ID)
		}
		ids[p.ID] = true
	}
	if !ids["SPDXRef-ayder"] || !strings.Contains(string(text), "pkg:golang/github.com/hashicorp/raft@v") || len(d.Relationships) != len(d.Packages) {
		t.Errorf("%d packages, %d relationships: %.300s", len(d.Packages), len(d.Relationships), text)
	}
}

func TestVersionsSort(t *testing.T) {
	for v, want := range map[string]string{"v1.2.3": "1.2.3", "v1.2.3-4-gabc": "1.2.3+4+gabc", "devel": "0~devel", "ab12-dirty": "0~ab12+dirty"} {
		if got := debianVersion(v); got != want {
			t.Errorf("%s: %s, want %s", v, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	var said bytes.Buffer
	for _, args := range [][]string{{}, {"-version", "a b"}, {"-version", "v1", "-targets", "linux"}, {"-version", "v1", "more"}, {"-nothing"}} {
		if code := run(args, &said, &said); code != 2 {
			t.Errorf("%v: exit status %d", args, code)
		}
	}
}
