package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A kernel is one of Debian's, taken out of its package and never installed: apt is told to live in a directory of ours, for
// arm64 alone, so that this machine's packages and lists stay as they are; its keyring is the machine's, so what comes is signed by
// Debian. What the disk needs is in modules there, and which modules those need in turn is in the modules themselves (section
// .modinfo, "depends="), so depmod is not needed either.

// wanted are the modules for a virtio disk with ext4, loaded with what they depend on. ext4 asks for a checksum by its name and not
// as a symbol, so that one is named too. What is not there is built in, or the mount will tell.
var wanted = []string{"virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"}

// kernel is an unpacked one.
type kernel struct {
	image   string // path
	release string // as uname -r says
	modules []file // in the order of loading
}

// aptConfig keeps apt within dir.
func aptConfig(dir, mirror, suite string) error {
	for _, d := range []string{"etc/preferences.d", "etc/trusted.gpg.d", "etc/apt.conf.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"status":           "",
		"etc/sources.list": fmt.Sprintf("deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, suite),
		"apt.conf": fmt.Sprintf("Dir::Etc %q;\nDir::State %q;\nDir::State::status %q;\nDir::Cache %q;\n"+
			"APT::Architecture \"arm64\";\nAPT::Architectures \"arm64\";\nAPT::Sandbox::User \"root\";\n",
			filepath.Join(dir, "etc"), filepath.Join(dir, "state"), filepath.Join(dir, "status"), filepath.Join(dir, "cache")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fetch downloads a kernel's package, following one that only depends on it, and returns the file's path. A file that is there already
// is not downloaded again.
func (o *options) fetch(suite, name string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(o.cache, suite))
	if err != nil {
		return "", err
	}
	if err := aptConfig(dir, o.mirror, suite); err != nil {
		return "", err
	}
	apt := func(args ...string) (string, error) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "LC_ALL=C")
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				out = exit.Stderr
			}
			return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return string(out), nil
	}
	if _, err := apt("apt-get", "-qq", "update"); err != nil {
		return "", err
	}
	for range 2 { // linux-image-arm64 depends on linux-image-6.1.0-50-arm64
		text, err := apt("apt-cache", "show", "--no-all-versions", name)
		if err != nil {
			return "", err
		}
		next := dependency(text)
		if next == "" {
			break
		}
		name = next
	}
	if found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb")); err != nil || len(found) > 0 {
		return slices.Max(found), err
	}
	if _, err := apt("apt-get", "-qq", "download", name); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("apt-get download %s left no file in %s: %w", name, dir, err)
	}
	return found[0], nil
}

// dependency is the kernel that a package's description depends on, empty if it is one itself.
func dependency(description string) string {
	for line := range strings.Lines(description) {
		rest, ok := strings.CutPrefix(line, "Depends: ")
		for part := range strings.SplitSeq(rest, ",") {
			if name, _, _ := strings.Cut(strings.TrimSpace(part), " "); ok && strings.HasPrefix(name, "linux-image-") {
				return name
			}
		}
	}
	return ""
}

// unpack takes a package apart in dir and finds the kernel and its modules.
func unpack(deb, dir string) (*kernel, error) {
	if out, err := exec.Command("dpkg-deb", "-x", deb, dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("dpkg-deb -x %s: %w: %s", deb, err, out)
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return nil, fmt.Errorf("%s holds %d kernels: %w", deb, len(images), err)
	}
	k := &kernel{image: images[0], release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")}
	paths := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if base, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok && err == nil && !d.IsDir() {
			paths[moduleName(base)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	k.modules, err = inOrder(wanted, func(name string) (data []byte, depends []string, err error) {
		path, ok := paths[name]
		if !ok {
			return nil, nil, nil
		}
		if data, err = readModule(path); err != nil {
			return nil, nil, err
		}
		depends, err = dependsOf(data)
		return data, depends, err
	})
	return k, err
}

// moduleName is a module's name as the kernel writes it.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// readModule reads a module, which some kernels have compressed.
func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	out, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		return nil, fmt.Errorf("xz -dc %s: %w", path, err)
	}
	return out, nil
}

// dependsOf reads what a module needs from its own description.
func dependsOf(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, fmt.Errorf("a module: %w", err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("a module without .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("a module's .modinfo: %w", err)
	}
	return dependsIn(info), nil
}

// dependsIn finds the names in "key=value" strings that each end in a zero byte.
func dependsIn(info []byte) (names []string) {
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok {
			for name := range bytes.SplitSeq(list, []byte(",")) {
				if len(name) > 0 {
					names = append(names, moduleName(string(name)))
				}
			}
		}
	}
	return names
}

// inOrder puts modules behind what they need. read returns no data for one that is not there, which is then taken as built in.
func inOrder(names []string, read func(name string) ([]byte, []string, error)) (order []file, err error) {
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		if seen[name] {
			return nil
		}
		seen[name] = true
		data, depends, err := read(name)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, d := range depends {
			if err := visit(d); err != nil {
				return err
			}
		}
		if data != nil {
			order = append(order, file{name: fmt.Sprintf("modules/%02d-%s.ko", len(order), name), mode: 0o100600, data: data})
		}
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}
