package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The Debian package: the binary, the unit, the manual and completions where Debian has them, and deploy/debian's
// scripts, which make the user and a token at the first installation and restart the service at the next ones. dpkg-deb takes every
// time from SOURCE_DATE_EPOCH and is told who owns the files, so packages are as reproducible as archives.

// debianFiles are the pages' places in the package.
var debianFiles = map[string]string{
	"completions/ayder.bash": "usr/share/bash-completion/completions/ayder",
	"completions/_ayder":     "usr/share/zsh/vendor-completions/_ayder",
	"completions/ayder.fish": "usr/share/fish/vendor_completions.d/ayder.fish",
	"LICENSE":                "usr/share/doc/ayder/copyright",
	"README.md":              "usr/share/doc/ayder/README.md",
}

// debian makes a package and returns its file's name.
func (r *release) debian(t target, binary []byte) (string, error) {
	root, err := os.MkdirTemp("", "ayder-deb-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(root)
	files, err := r.debianTree(t, binary)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		name := filepath.Join(root, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(name, f.data, fs.FileMode(f.mode)); err != nil {
			return "", err
		}
		if err := os.Chmod(name, fs.FileMode(f.mode)); err != nil { // whatever the umask is
			return "", err
		}
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("ayder_%s_%s.deb", debianVersion(r.version), t.arch)
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, filepath.Join(r.out, name))
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.at.Unix()), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("dpkg-deb: %w: %s", err, out)
	}
	return name, nil
}

// debianTree is what the package holds.
func (r *release) debianTree(t target, binary []byte) ([]file, error) {
	control, err := os.ReadFile("deploy/debian/control")
	if err != nil {
		return nil, err
	}
	unit, err := os.ReadFile("deploy/systemd/ayder.service")
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer("@VERSION@", debianVersion(r.version), "@ARCH@", t.arch, "@SIZE@", fmt.Sprint(len(binary)>>10)).Replace(string(control))
	files := []file{
		{"DEBIAN/control", 0o644, []byte(text)},
		{"usr/bin/ayder", 0o755, binary},
		{"lib/systemd/system/ayder.service", 0o644, bytes.ReplaceAll(unit, []byte("/usr/local/bin/"), []byte("/usr/bin/"))},
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		data, err := os.ReadFile("deploy/debian/" + script)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"DEBIAN/" + script, 0o755, data})
	}
	for _, p := range r.pages {
		if place, ok := debianFiles[p.name]; ok {
			files = append(files, file{place, 0o644, p.data})
		} else if p.name == "man/ayder.1" {
			var z bytes.Buffer
			w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level is one
			if _, err := w.Write(p.data); err != nil {
				return nil, err
			}
			if err := w.Close(); err != nil {
				return nil, err
			}
			files = append(files, file{"usr/share/man/man1/ayder.1.gz", 0o644, z.Bytes()})
		}
	}
	return files, nil
}

// debianVersion is a version as Debian wants it: it begins with a digit, and a commit behind a tag sorts behind that.
func debianVersion(v string) string {
	v = strings.ReplaceAll(strings.TrimPrefix(v, "v"), "-", "+")
	if v == "" || v[0] < '0' || v[0] > '9' {
		v = "0~" + v
	}
	return v
}
