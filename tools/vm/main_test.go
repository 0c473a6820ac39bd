package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ayder/tools/vm/console"
)

// readCPIO takes an archive apart as the kernel does, and insists on its form.
func readCPIO(t *testing.T, p []byte) (files []file) {
	t.Helper()
	for at := 0; ; {
		field := func(i int) int {
			n, err := strconv.ParseUint(string(p[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		if at%4 != 0 || string(p[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		size, nameSize := field(6), field(11)
		name := string(p[at+110 : at+110+nameSize-1])
		if p[at+110+nameSize-1] != 0 {
			t.Fatalf("the name %q has no end", name)
		}
		data := (at + 110 + nameSize + 3) &^ 3
		if name == "TRAILER!!!" {
			if (data+size+3)&^3 != len(p) {
				t.Errorf("%d bytes, the trailer ends at %d", len(p), data+size)
			}
			return files
		}
		files = append(files, file{name, uint32(field(1)), uint32(field(9)), uint32(field(10)), p[data : data+size]})
		at = (data + size + 3) &^ 3
	}
}

func TestCPIO(t *testing.T) {
	var b bytes.Buffer
	in := []file{
		{"dev/console", modeCharacter | 0o600, 5, 1, nil},
		{"proc", modeDirectory, 0, 0, nil},
		{"a/b/c", modeRegular | 0o755, 0, 0, []byte("12345")},
		{"a/b/d", modeRegular | 0o644, 0, 0, []byte("1234")},
		{"init", modeRegular | 0o755, 0, 0, []byte("x")},
	}
	if err := writeCPIO(&b, in); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range readCPIO(t, b.Bytes()) {
		got = append(got, fmt.Sprintf("%s %o %d:%d %s", f.name, f.mode, f.major, f.minor, f.data))
	}
	want := []string{
		"dev 40755 0:0 ", "dev/console 20600 5:1 ", "proc 40755 0:0 ", "a 40755 0:0 ", "a/b 40755 0:0 ",
		"a/b/c 100755 0:0 12345", "a/b/d 100644 0:0 1234", "init 100755 0:0 x",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the archive holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := writeCPIO(full{}, in); !errors.Is(err, errFull) {
		t.Errorf("nowhere to write: %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestModulesInOrder(t *testing.T) {
	needs := map[string][]string{"ext4": {"jbd2", "mbcache"}, "jbd2": {"crc"}, "mbcache": {"crc"}, "crc": nil, "blk": {"virtio"}, "virtio": nil}
	order, err := inOrder([]string{"blk", "builtin", "ext4", "jbd2"}, func(name string) ([]byte, []string, error) {
		if depends, ok := needs[name]; ok {
			return []byte(name), depends, nil
		}
		return nil, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range order {
		got = append(got, f.name)
	}
	if want := "modules/00-virtio.ko modules/01-blk.ko modules/02-crc.ko modules/03-jbd2.ko modules/04-mbcache.ko modules/05-ext4.ko"; strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
	bad := errors.New("bad")
	if _, err := inOrder([]string{"ext4"}, func(string) ([]byte, []string, error) { return nil, nil, bad }); !errors.Is(err, bad) {
		t.Errorf("a module that cannot be read: %v", err)
	}
}

// modinfo makes an object file with one section, .modinfo.
func modinfo(text string) []byte {
	const head = 64
	names := "\x00.modinfo\x00.shstrtab\x00"
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_AARCH64), Version: 1, Shoff: uint64(head + len(text) + len(names)),
		Ehsize: head, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[4], h.Ident[5], h.Ident[6] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: head, Size: uint64(len(text))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(head + len(text)), Size: uint64(len(names))},
	}
	var b bytes.Buffer
	for _, part := range []any{h, []byte(text + names), sections} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func TestDependsOf(t *testing.T) {
	got, err := dependsOf(modinfo("license=GPL\x00depends=jbd2,crc-16\x00name=ext4\x00"))
	if err != nil || strings.Join(got, " ") != "jbd2 crc_16" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = dependsOf(modinfo("depends=\x00")); err != nil || len(got) != 0 {
		t.Errorf("no dependencies: %v, %v", got, err)
	}
	if _, err = dependsOf([]byte("not a module")); err == nil {
		t.Error("a text is a module")
	}
}

func TestDependency(t *testing.T) {
	text := "Package: linux-image-arm64\nDepends: x, linux-image-6.1.0-50-arm64 (= 6.1.176-1)\nDescription: y\n"
	if got := dependency(text); got != "linux-image-6.1.0-50-arm64" {
		t.Errorf("%q", got)
	}
	if got := dependency("Package: linux-image-6.1.0-50-arm64\nDepends: kmod, initramfs-tools\nDescription: linux-image-z\n"); got != "" {
		t.Errorf("%q", got)
	}
}

// A package is taken apart and its modules are found, compressed ones too.
func TestUnpack(t *testing.T) {
	for _, name := range []string{"dpkg-deb", "xz"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("DEBIAN/control", "Package: k\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: k\n")
	write("boot/vmlinuz-9.9-test", "kernel")
	write("lib/modules/9.9-test/kernel/virtio_blk.ko", string(modinfo("depends=\x00")))
	write("lib/modules/9.9-test/kernel/ext4.ko", string(modinfo("depends=mb-cache\x00")))
	write("lib/modules/9.9-test/kernel/mb-cache.ko", string(modinfo("depends=\x00")))
	for _, args := range [][]string{
		{"xz", filepath.Join(root, "lib/modules/9.9-test/kernel/ext4.ko")},
		{"dpkg-deb", "--root-owner-group", "--build", root, root + ".deb"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	k, err := unpack(root+".deb", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range k.modules {
		names = append(names, m.name)
	}
	if k.release != "9.9-test" || strings.Join(names, " ") != "modules/00-virtio_blk.ko modules/01-mb_cache.ko modules/02-ext4.ko" {
		t.Errorf("%s with %v", k.release, names)
	}
	if _, err := unpack(root+".none", t.TempDir()); err == nil {
		t.Error("a package that is not there was unpacked")
	}
}

func TestJudge(t *testing.T) {
	for what, c := range map[string]struct {
		said string
		want string
	}{
		"all is there":          {"@acked 0 8\n@acked 0 16\n@acked 1 8\n@holds 0 17\n@holds 1 8\n", ""},
		"one is missing":        {"@acked 0 8\n@acked 1 16\n@holds 0 8\n@holds 1 15\n", "partition 1: 16 messages were acknowledged, 15 are there"},
		"a partition is gone":   {"@acked 0 8\n@acked 1 8\n@holds 0 8\n", "partition 1: 8 messages were acknowledged, 0 are there"},
		"nothing was tried":     {"@holds 0 8\n", "nothing was acknowledged"},
		"torn lines are no say": {"@acked 0 8\n@holds 0 8\n@acked 0 ", ""},
	} {
		l := newLedger()
		for lines := newLines(strings.NewReader(c.said)); lines.Scan(); {
			if line, ok := console.Parse(lines.Text()); ok {
				l.add(line)
			}
		}
		if err := l.judge(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A line that ends with the console and not with its own end may be half of one: 12 of 128.
func TestTornLastLineIsNothing(t *testing.T) {
	lines := newLines(strings.NewReader("@acked 0 8\r\n@acked 0 12"))
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	if len(got) != 1 || got[0] != "@acked 0 8\r" {
		t.Errorf("%q", got)
	}
}

// played is a machine whose qemu is a script.
func played(t *testing.T, script string) (*machine, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	return &machine{
		qemu: path, kernel: &kernel{}, log: &bytes.Buffer{},
		say: func(format string, a ...any) { fmt.Fprintf(&said, format+"\n", a...) },
	}, &said
}

func TestBoots(t *testing.T) {
	for what, c := range map[string]struct {
		script string
		enough uint64 // acknowledgements before the machine is killed; 0: never
		want   string // of the error
	}{
		"a good end":               {"echo '[ 0.1] Linux'; echo '@ hello'; echo '@acked 0 5'; echo @done", 0, ""},
		"a bad one":                {"echo '@failed no disk'", 0, "no disk"},
		"no end":                   {"echo '@ hello'", 0, "stopped in the middle"},
		"qemu's own failure":       {"echo @done; exit 3", 0, "exit status 3"},
		"killed when it is enough": {"echo '@acked 0 5'; exec sleep 1000", 5, ""},
		"an end before that":       {"echo '@acked 0 4'; echo @done", 5, "before its machine was to be killed"},
		"no qemu at all":           {"", 0, "start the machine"},
	} {
		m, _ := played(t, c.script)
		if c.script == "" {
			m.qemu = "/nonexistent"
		}
		l := newLedger()
		var enough func() bool
		if c.enough > 0 {
			enough = func() bool { return l.total() >= c.enough }
		}
		if err := m.boot(context.Background(), "kill", l, enough); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// All the boots, with a guest that forgets something and one that does not.
func TestPhases(t *testing.T) {
	const guest = `case "$*" in
*phase=kill*) echo '@acked 0 400'; echo '@holds 0 400'; echo @done;;
*phase=power*) echo '@acked 0 1000'; exec sleep 1000;;
*phase=verify*) echo "@holds 0 $HELD"; echo @done;;
esac`
	m, said := played(t, guest)
	t.Setenv("HELD", "1001")
	if err := m.phases(context.Background()); err != nil || !strings.Contains(said.String(), "partition 0: 1000 acknowledged, 1001 there") {
		t.Errorf("%v\n%s", err, said)
	}
	t.Setenv("HELD", "999")
	if err := m.phases(context.Background()); err == nil {
		t.Error("a message is missing and nobody says so")
	}
}

func TestUsage(t *testing.T) {
	var said bytes.Buffer
	if code := run([]string{"-nothing"}, &said, &said); code != 2 {
		t.Errorf("exit status %d", code)
	}
	if code := run([]string{"more"}, &said, &said); code != 2 {
		t.Errorf("exit status %d", code)
	}
	if code := run([]string{"-h"}, &said, &said); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
