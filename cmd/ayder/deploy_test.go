package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// What is in deploy/ beside the scripts of the cluster: dashboards and alerts name only metrics that a server has; rules,
// configurations and container files are read by the programs that they are for, where those are installed.

// deployed is the path of a file of the repository.
func deployed(t *testing.T, path string) string {
	t.Helper()
	root, err := proc.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, path)
}

// tool is the path of a program, or the test is skipped.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("not here: ", err)
	}
	return path
}

// mustRun runs a program in a directory.
func mustRun(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

var (
	metricName   = regexp.MustCompile(`\b(?:ayder|ramforge|process)_[a-z0-9_]+`)
	metricSuffix = regexp.MustCompile(`_(?:bucket|sum|count)$`)
	metricType   = regexp.MustCompile(`(?m)^# TYPE (\S+) `)
)

// metricsThatThereAre are those of a server that has something to tell.
func metricsThatThereAre(t *testing.T) map[string]bool {
	t.Helper()
	s := proc.Run(t, proc.Options{})
	c := s.Connect(t)
	mustProduce(t, c, "t", 0, []byte("v"))
	if r, err := c.Post("/broker/commit", []byte(`{"topic":"t","group":"g","partition":0,"offset":1}`)); err != nil || r.Status != 200 {
		t.Fatal(&r, err)
	}
	there := map[string]bool{"ayder_build_info": true}
	for _, path := range []string{"/metrics", "/metrics_ha"} {
		r, err := c.Get(path)
		if err != nil || r.Status != 200 {
			t.Fatal(path, &r, err)
		}
		for _, m := range metricType.FindAllStringSubmatch(string(r.Body), -1) {
			there[m[1]] = true
		}
	}
	return there
}

func TestDashboardsAndAlertsNameMetricsThatThereAre(t *testing.T) {
	there := metricsThatThereAre(t)
	for _, pattern := range []string{"deploy/grafana/dashboards/*.json", "deploy/prometheus/alerts.yml"} {
		files, err := filepath.Glob(deployed(t, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			named := metricName.FindAllString(string(text), -1)
			for _, name := range named {
				if !there[name] && !there[metricSuffix.ReplaceAllString(name, "")] {
					t.Errorf("%s names %s, which no server has", filepath.Base(file), name)
				}
			}
			if len(named) < 8 {
				t.Errorf("%s names %d metrics", filepath.Base(file), len(named))
			}
		}
	}
}

// The dashboard is what Grafana expects: every panel has its place, a query, and an id of its own.
func TestDashboardIsWhole(t *testing.T) {
	text, err := os.ReadFile(deployed(t, "deploy/grafana/dashboards/ayder.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Panels     []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids, places := map[int]bool{}, map[string]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && (len(p.Targets) == 0 || p.Targets[0].Expr == "") || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d: %+v", p.ID, p)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				at := fmt.Sprint(x, " ", y)
				if places[at] != "" {
					t.Fatalf("%q lies on %q", p.Title, places[at])
				}
				places[at] = p.Title
			}
		}
	}
	if d.UID == "" || len(d.Panels) < 10 {
		t.Errorf("%q with %d panels", d.UID, len(d.Panels))
	}
}

func TestAlertRules(t *testing.T) {
	promtool := tool(t, "promtool")
	dir := deployed(t, "deploy/prometheus")
	mustRun(t, dir, promtool, "check", "config", "prometheus.yml")
	t.Log(mustRun(t, dir, promtool, "test", "rules", "alerts_test.yml"))
}

// Prometheus, with the configuration that is shipped, scrapes a server and finds nothing to alert anybody for.
func TestPrometheusScrapesWithTheShippedConfiguration(t *testing.T) {
	t.Parallel()
	prometheus := tool(t, "prometheus")
	s := proc.Run(t, proc.Options{Env: []string{"RF_BEARER_TOKENS=dev"}})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(deployed(t, "deploy/prometheus"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), "ayder:1109") < 2 {
		t.Fatal("the configuration names no server")
	}
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "ayder:1109", s.Addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	cmd := exec.CommandContext(t.Context(), prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline(t, "two scrapes", func() bool { return len(ask1(addr, `up == 1`)) == 2 })
	deadline(t, "the server's metrics", func() bool {
		return len(ask1(addr, `ayder_ready == 1`)) == 1 && len(ask1(addr, `ramforge_ha_role == 0`)) == 1
	})
	if alerts := ask1(addr, `ALERTS{alertstate="firing"}`); len(alerts) != 0 {
		t.Errorf("alerts: %v", alerts)
	}
}

// ask1 asks Prometheus for the present value of an expression; nothing where it does not answer.
func ask1(addr, query string) []any {
	resp, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct{ Result []any }
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return nil
	}
	return answer.Data.Result
}

func TestComposeFiles(t *testing.T) {
	compose := tool(t, "docker-compose")
	mustRun(t, deployed(t, "."), compose, "-f", "docker-compose.yml", "config", "-q")
	mustRun(t, deployed(t, "deploy"), compose, "-f", "compose-cluster.yml", "config", "-q")
}

var straced = regexp.MustCompile(`(?m)^\d+ +(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed)`)

// The profile for containers allows every system call that a server makes, with io_uring as without.
func TestSeccompProfile(t *testing.T) {
	t.Parallel()
	strace := tool(t, "strace")
	text, err := os.ReadFile(deployed(t, "deploy/seccomp.json"))
	if err != nil {
		t.Fatal(err)
	}
	var profile struct {
		Syscalls []struct {
			Names  []string
			Action string
		}
	}
	if err := json.Unmarshal(text, &profile); err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, s := range profile.Syscalls {
		for _, name := range s.Names {
			allowed[name] = s.Action == "SCMP_ACT_ALLOW"
		}
	}
	for _, backend := range proc.Backends(t) {
		s := proc.Run(t, proc.Options{Backend: backend})
		trace := filepath.Join(t.TempDir(), "trace")
		tracer := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-o", trace, "-p", fmt.Sprint(s.Pid()))
		if err := tracer.Start(); err != nil {
			t.Fatal(err)
		}
		deadline(t, "the tracer", func() bool { _, err := os.Stat(trace); return err == nil })
		c := s.Connect(t)
		for i := range 50 {
			mustProduce(t, c, "t", 0, counted(i, 100))
		}
		if r, err := c.Get("/metrics"); err != nil || r.Status != 200 {
			t.Fatal(&r, err)
		}
		mustStop(t, s)
		_ = tracer.Wait()
		calls, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range straced.FindAllStringSubmatch(string(calls), -1) {
			if seen[m[1]] = true; !allowed[m[1]] {
				t.Errorf("%s: %s is not allowed", backend, m[1])
			}
		}
		if len(seen) < 10 {
			t.Skip("nothing can be traced here: ", string(calls))
		}
	}
}

// Whatever the image is made of is what the build context lets through.
func TestImageContextHasWhatTheBuildNeeds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the program from a copy of the tree")
	}
	text, err := os.ReadFile(deployed(t, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "!")
		if !ok {
			continue
		}
		proc.CopySource(t, dir, name)
	}
	mustRun(t, dir, "make", "build", "VERSION=image", "REVISION=")
	mustRun(t, dir, "go", "build", "-o", filepath.Join(dir, "certs-tool"), "./tools/certs")
	if out := mustRun(t, dir, filepath.Join(dir, "bin/ayder"), "version"); !strings.Contains(out, "image") {
		t.Error(out)
	}
}
