package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// The servers of these tests are this test binary itself, which plays one when its arguments are those of one. So the
// program is tested without the product. A played cluster is led by whom a file in its directory names.

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(playServer())
	}
	os.Exit(proc.Main(m))
}

// played is the last that a played server says by itself: from then on SIGTERM ends it in order.
const played = "it plays"

// leaderFile names the leader of a played cluster: "node2 7" leads in term 7.
const leaderFile = "leader"

// playServer answers /metrics_ha until SIGTERM. Its flags: --fails ends it at once, --stubborn ignores SIGTERM.
func playServer() int {
	id, dir := os.Getenv("RF_HA_NODE_ID"), os.Args[slices.Index(os.Args, "--data-dir")+1]
	fmt.Println("this is", id, os.Args[1:])
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "RF_") || strings.HasPrefix(v, "AYDER_") {
			fmt.Println(v)
		}
	}
	if os.Getenv("RF_HA_TLS") != "" {
		if _, err := tls.LoadX509KeyPair(os.Getenv("RF_HA_TLS_CERT"), os.Getenv("RF_HA_TLS_KEY")); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if slices.Contains(os.Args, "--fails") {
		fmt.Println("it will not work")
		return 3
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println(played)
	http.HandleFunc("/metrics_ha", func(w http.ResponseWriter, r *http.Request) { answerMetrics(w, r, id, filepath.Dir(dir)) })
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(playedAddr(id), nil) }()
	for {
		select {
		case err := <-failed:
			fmt.Println(err)
			return 1
		case <-term:
			if !slices.Contains(os.Args, "--stubborn") {
				return 0
			}
		}
	}
}

func answerMetrics(w http.ResponseWriter, r *http.Request, id, dir string) {
	if r.Header.Get("Authorization") != "Bearer dev" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	role, term := 1, "1"
	text, err := os.ReadFile(filepath.Join(dir, leaderFile))
	leader, its, _ := strings.Cut(string(text), " ")
	if err == nil && leader == id || err != nil && os.Getenv("RF_HA_BOOTSTRAP_LEADER") == "1" {
		role = 0
	}
	if err == nil {
		term = its
	}
	fmt.Fprintf(w, "# HELP ramforge_ha_role it\nramforge_ha_role{node=\"%s\"} %d\nramforge_ha_term %s\n", id, role, term)
}

// playedAddr is where the node serves HTTP according to RF_HA_NODES.
func playedAddr(id string) string {
	for _, entry := range strings.Split(os.Getenv("RF_HA_NODES"), ",") {
		fields := strings.Split(entry, ":")
		if port, err := strconv.Atoi(fields[2]); err == nil && fields[0] == id {
			return net.JoinHostPort(fields[1], strconv.Itoa(port+1))
		}
	}
	return "not a node"
}

// freePorts is a text for -ports: n ports with the ones after them.
func freePorts(t *testing.T, n int) string {
	t.Helper()
	var texts []string
	for range n {
		port, err := proc.FreePorts(2)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, strconv.Itoa(port))
	}
	return strings.Join(texts, ",")
}

// running is the program at work in a goroutine.
type running struct {
	t       *testing.T
	dir     string
	signals chan os.Signal
	out     *transcript
	code    chan int
}

// transcript is what was printed so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program with three played nodes.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	self := proc.Self(t)
	r := &running{t: t, dir: t.TempDir(), signals: make(chan os.Signal, 2), out: &transcript{}, code: make(chan int, 1)}
	args = append([]string{"-bin", self, "-ports", freePorts(t, 3), "-dir", r.dir}, args...)
	go func() { r.code <- run(args, r.signals, r.out, r.out) }()
	return r
}

// says waits for a line that matches and returns its submatches.
func (r *running) says(pattern string) []string {
	r.t.Helper()
	line := regexp.MustCompile(pattern)
	deadline := time.Now().Add(proc.HangGuard)
	for time.Now().Before(deadline) {
		if found := line.FindStringSubmatch(r.out.String()); found != nil {
			return found
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatalf("it does not say %s but\n%s", pattern, r.out)
	return nil
}

// ends waits for the program and expects an exit status.
func (r *running) ends(want int) {
	r.t.Helper()
	select {
	case code := <-r.code:
		if code != want {
			r.t.Errorf("exit status %d, want %d\n%s", code, want, r.out)
		}
	case <-time.After(proc.HangGuard):
		r.t.Fatalf("it does not end\n%s", r.out)
	}
}

// awaitAll waits until the three nodes have said everything: that one leads tells nothing of the others.
func (r *running) awaitAll() {
	r.t.Helper()
	deadline := time.Now().Add(proc.HangGuard)
	for _, id := range []string{"node1", "node2", "node3"} {
		for !strings.Contains(r.log(id), played) {
			if time.Now().After(deadline) {
				r.t.Fatalf("%s has said\n%s", id, r.log(id))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// stops sends ^C and expects that nothing is left.
func (r *running) stops() {
	r.t.Helper()
	r.signals <- syscall.SIGINT
	r.ends(0)
	for _, pid := range r.pids() {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			r.t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

// pids are those that were printed.
func (r *running) pids() (pids []int) {
	for _, found := range regexp.MustCompile(`pid (\d+)`).FindAllStringSubmatch(r.out.String(), -1) {
		pid, err := strconv.Atoi(found[1])
		if err != nil {
			r.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func (r *running) log(id string) string {
	text, err := os.ReadFile(filepath.Join(r.dir, id+".log"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func TestThreeNodesAreStartedAndStopped(t *testing.T) {
	t.Setenv("RF_BEARER_TOKENS", "of-another-server")
	t.Setenv("AYDER_LOOPS", "9")
	r := start(t, "-write-concern", "3", "--", "--loops", "1")
	r.says(`3 nodes, mutual TLS between the nodes, token dev; data and logs in ` + regexp.QuoteMeta(r.dir))
	r.says(`node1  http://127\.0\.0\.1:\d+  raft 127\.0\.0\.1:\d+  pid \d+  leads, term 1\n`)
	r.says(`node2  http://127\.0\.0\.1:\d+  raft 127\.0\.0\.1:\d+  pid \d+\n`)
	r.says(`(?m)node3  .*\n\nwrite(.*\n)+  curl .*\n`)
	r.awaitAll()
	r.stops()
	for id, want := range map[string]bool{"node1": true, "node2": false, "node3": false} {
		log := r.log(id)
		if strings.Contains(log, "RF_HA_BOOTSTRAP_LEADER=1") != want {
			t.Errorf("%s: %s", id, log)
		}
		if strings.Contains(log, "TOKENS") || strings.Contains(log, "AYDER_LOOPS") || !strings.Contains(log, "--loops 1]") || !strings.Contains(log, "RF_HA_WRITE_CONCERN=3") {
			t.Errorf("%s: %s", id, log)
		}
	}
	if !regexp.MustCompile(`RF_HA_NODES=node1:127\.0\.0\.1:\d+:30,node2:127\.0\.0\.1:\d+:20,node3:127\.0\.0\.1:\d+:10\n`).MatchString(r.log("node2")) {
		t.Error(r.log("node2"))
	}
}

func TestChangesArePrinted(t *testing.T) {
	r := start(t, "-tls=false")
	r.says(`3 nodes, no TLS between the nodes`)
	for _, step := range []struct{ file, want string }{
		{"node3 7", `\nnode3 leads, term 7\n`}, {"node3 8", `\nnode3 leads, term 8\n`}, {"nobody 9", `\nno node leads\n`}, {"node2 10", `\nnode2 leads, term 10\n`},
	} {
		if err := os.WriteFile(filepath.Join(r.dir, ".new"), []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(r.dir, ".new"), filepath.Join(r.dir, leaderFile)); err != nil {
			t.Fatal(err)
		}
		r.says(step.want)
	}
	pid, err := strconv.Atoi(r.says(`node1 .* pid (\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.says(`\nnode1 \(pid \d+\) has ended: signal: killed; it said last:\n    this is node1 `)
	r.stops()
	if strings.Contains(r.log("node1"), "RF_HA_TLS") {
		t.Error("TLS although it is off")
	}
}

func TestANodeThatCannotStartEndsTheCluster(t *testing.T) {
	r := start(t, "--", "--fails")
	r.ends(1)
	r.says(`node\d \(pid \d+\) has ended: exit status 3; it said last:\n(    .*\n)*    it will not work\n`)
	r.says(`cluster: node\d ended before the cluster was up`)
}

func TestTheLastNodesEndIsTheEnd(t *testing.T) {
	r := start(t)
	r.says(`\^C ends all`)
	for _, pid := range r.pids() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
	r.ends(1)
	r.says(`cluster: all nodes have ended`)
}

func TestASecondSignalDoesNotWait(t *testing.T) {
	r := start(t, "--", "--stubborn")
	r.says(`\^C ends all`)
	r.signals <- syscall.SIGTERM
	r.says(`stopping the nodes`)
	r.stops()
}

func TestWithoutADirectoryNothingIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := start(t, "-dir", "")
	dir := r.says(`data and logs in (.*)\n`)[1]
	if filepath.Dir(dir) != os.TempDir() {
		t.Errorf("in %s", dir)
	}
	r.stops()
	if entries, err := os.ReadDir(os.TempDir()); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestAnotherRunKeepsTheAuthority(t *testing.T) {
	r := start(t)
	r.says(`\^C ends all`)
	r.stops()
	before, err := os.ReadFile(filepath.Join(r.dir, "certs", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	again := start(t, "-dir", r.dir)
	again.says(`\^C ends all`)
	again.stops()
	if after, err := os.ReadFile(filepath.Join(r.dir, "certs", "ca.crt")); err != nil || !bytes.Equal(after, before) {
		t.Errorf("another authority: %v", err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	ports := freePorts(t, 1)
	port, err := strconv.Atoi(ports)
	if err != nil {
		t.Fatal(err)
	}
	taken := net.JoinHostPort(host, strconv.Itoa(port+1))
	l, err := net.Listen("tcp", taken)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var said strings.Builder
	if code := run([]string{"-ports", ports}, nil, &said, &said); code != 1 || !strings.Contains(said.String(), "node1 needs "+taken) {
		t.Errorf("%d %s", code, said.String())
	}
}

func TestWrongUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-ports x", `cluster: -ports x: "x" is not a port`},
		{"-ports 7000,", `cluster: -ports 7000,: "" is not a port`},
		{"-ports 65535", `cluster: -ports 65535: "65535" is not a port`},
		{"-ports 7000,7001", "cluster: -ports 7000,7001: 7001 and 7002, which node 2 needs"},
		{"-ports 7001,7000", "cluster: -ports 7001,7000: 7000 and 7001, which node 2 needs"},
		{"-ports 1000,2000,3000,4000,5000,6000,7000,8000,9000,10000", "cluster: -ports: 10 nodes, the limit is 9"},
		{"-nonsense", "flag provided but not defined: -nonsense"},
	} {
		var out, said strings.Builder
		if code := run(strings.Fields(tt.args), nil, &out, &said); code != 2 || out.String() != "" || !strings.HasPrefix(said.String(), tt.want) {
			t.Errorf("%s: %d %s", tt.args, code, said.String())
		}
	}
	var out, said strings.Builder
	if code := run([]string{"-h"}, nil, &out, &said); code != 0 || !strings.Contains(said.String(), "-ports") {
		t.Errorf("%d %s", code, said.String())
	}
	if code := run([]string{"-bin", "/nonexistent", "-ports", freePorts(t, 2)}, nil, &out, &said); code != 1 || !strings.Contains(said.String(), "start node1: ") {
		t.Errorf("%d %s", code, said.String())
	}
}

func TestStandings(t *testing.T) {
	for _, tt := range []struct {
		text string
		want standing
	}{
		{"ramforge_ha_role 0\nramforge_ha_term 7\n", standing{"0", 7}},
		{"# TYPE ramforge_ha_role gauge\nramforge_ha_term{a=\"b\"} 7\nx 1\nramforge_ha_role{a=\"b\"} 2", standing{"2", 7}},
		{"ramforge_ha_role 0\n", standing{}},
		{"ramforge_ha_term 7\n", standing{}},
		{"ramforge_ha_role 0\nramforge_ha_term -1\n", standing{}},
		{"ramforge_ha_roles 0\nramforge_ha_terms 1\n", standing{}},
		{"", standing{}},
	} {
		got, err := readStanding(tt.text)
		if got != tt.want || (err == nil) != (tt.want.role != "") {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
}
