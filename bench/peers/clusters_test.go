package peers

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAyderCluster(t *testing.T) {
	dir := t.TempDir()
	all, err := AyderCluster("ayder-3", "bin/ayder", dir, "", 3, "--backend", "uring")
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	members := ""
	for i, s := range all {
		id := []string{"n1", "n2", "n3"}[i]
		if s.Name != "ayder-3-"+id || !strings.Contains(strings.Join(s.Argv, " "), "--data-dir "+filepath.Join(dir, id)+" --listen "+s.Addr+" --backend uring") {
			t.Errorf("%+v", s)
		}
		text := strings.Join(s.Env, "\n") + "\n"
		if !strings.Contains(text, "RF_HA_NODE_ID="+id+"\n") || strings.Contains(text, "BOOTSTRAP") != (i == 0) || strings.Contains(text, "TLS") {
			t.Errorf("%s: environment %q", id, s.Env)
		}
		_, list, _ := strings.Cut(text, "RF_HA_NODES=")
		list, _, _ = strings.Cut(list, "\n")
		if members = list; list == "" || i > 0 && list != members {
			t.Errorf("%s: nodes %q", id, list)
		}
	}
	entries := strings.Split(members, ",")
	for i, s := range all {
		_, port, _ := strings.Cut(s.Addr, ":")
		priority := []string{":30:", ":20:", ":10:"}[i]
		if !strings.HasPrefix(entries[i], "n"+string(rune('1'+i))+":127.0.0.1:") || !strings.HasSuffix(entries[i], priority+port) {
			t.Errorf("entry %q of %s", entries[i], s.Addr)
		}
	}
	if all, err = AyderCluster("x", "bin/ayder", dir, "/certs", 3); err != nil || !slices.Contains(all[1].Env, "RF_HA_TLS_KEY=/certs/n2.key") {
		t.Errorf("%v, %v", all, err)
	}
}

func TestNATSCluster(t *testing.T) {
	all, err := NATSCluster("nats-server", t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		text, err := os.ReadFile(s.Argv[2])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"sync_interval: always", "server_name: \"n" + string(rune('1'+i)), s.Addr, "routes: [\"nats://127.0.0.1:"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	if err := appendTo(filepath.Join(t.TempDir(), "missing"), ""); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestEtcdCluster(t *testing.T) {
	all, err := EtcdCluster("etcd", t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(all[2].Argv, " ")
	if !strings.Contains(line, "--name n3") || !strings.Contains(line, "--listen-client-urls http://"+all[2].Addr) || strings.Count(line, "=http://") != 3 {
		t.Errorf("etcd: %s", line)
	}
}

func TestNoPlaceForACluster(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"ayder": second(AyderCluster("x", "ayder", file, "", 3)), "nats": second(NATSCluster("nats", file, 3)), "etcd": second(EtcdCluster("etcd", file, 3)),
	} {
		if err == nil {
			t.Errorf("%s: a file was taken for a directory", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestStartAllAndKillAll(t *testing.T) {
	all := []Spec{fake(t, "serve"), fake(t, "serve"), fake(t, "serve")}
	list, err := StartAll(context.Background(), all, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if !p.Alive() || httpReady(p.Addr) != nil {
			t.Error("not serving")
		}
	}
	if err := KillAll(list); err != nil {
		t.Error(err)
	}
	for _, p := range list {
		if p.Alive() || httpReady(p.Addr) == nil {
			t.Error("still serving")
		}
	}
	again, err := Start(context.Background(), list[1].Spec, t.TempDir())
	if err != nil {
		t.Fatalf("a node does not come back: %v", err)
	}
	if err := again.Kill(); err != nil {
		t.Error(err)
	}
}

// TestStartAllOrNone: one that fails ends the others.
func TestStartAllOrNone(t *testing.T) {
	good := fake(t, "serve")
	missing := fake(t, "serve")
	missing.Argv[0] = "/no/such/program"
	for _, bad := range []Spec{missing, fake(t, "fail")} {
		if list, err := StartAll(context.Background(), []Spec{good, bad}, t.TempDir()); err == nil || list != nil {
			t.Errorf("%d processes, %v", len(list), err)
		}
		if httpReady(good.Addr) == nil {
			t.Error("the other one is left running")
		}
	}
}
