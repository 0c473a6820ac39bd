package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"ayder/internal/testkit/proc"
)

// The image, without an engine: a root directory with what the Dockerfile puts there and nothing else, its user, its environment, its
// entry point, and its health check.
func TestImageServesFromAnEmptyRoot(t *testing.T) {
	t.Parallel()
	proc.NotEmulated(t, "the emulator is not in the image")
	if os.Getuid() != 0 {
		t.Skip("changing the root takes root")
	}
	text, err := os.ReadFile(deployed(t, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"FROM scratch", "USER 65532:65532", `ENTRYPOINT ["/ayder"]`, `CMD ["serve"]`, `CMD ["/ayder", "health"]`, "VOLUME /data"} {
		if !strings.Contains(string(text), line) {
			t.Fatalf("the Dockerfile lacks %q", line)
		}
	}
	root := t.TempDir()
	// without cgo: nothing is there to link with
	mustRun(t, deployed(t, "."), "env", "CGO_ENABLED=0", "go", "build", "-o", filepath.Join(root, "ayder"), "./cmd/ayder")
	for _, dir := range []string{"data", "tmp"} {
		if err = os.Mkdir(filepath.Join(root, dir), 0o777); err == nil {
			err = os.Chown(filepath.Join(root, dir), 65532, 65532)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	addr := freeAddr(t)
	environment := []string{"AYDER_LISTEN=" + addr, "RF_BEARER_TOKENS=dev", "AYDER_SERVER=http://" + addr}
	environment = append(environment, regexp.MustCompile(`AYDER_DATA_DIR=\S+`).FindAllString(string(text), -1)...)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/ayder", args...)
		cmd.Env, cmd.Dir = environment, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		return cmd
	}
	server := command("serve")
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	deadline(t, "a healthy container", func() bool { return command("health").Run() == nil })
	if out, err := command("topic", "create", "t", "--partitions", "1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	produce := command("produce", "t")
	produce.Stdin = strings.NewReader("a\nb\n")
	if out, err := produce.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := command("consume", "t").CombinedOutput(); err != nil || !strings.Contains(string(out), "a\nb\n") {
		t.Fatalf("%v: %s", err, out)
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Fatal("it does not stop as a container is stopped: ", err)
	}
}
