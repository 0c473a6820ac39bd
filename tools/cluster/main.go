package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ayder/tools/certs/authority"
)

// The order of things: see that the ports are free, make certificates, start the nodes, wait until one leads, say where
// they are, watch them until a signal or the end of the last one, end them. Whatever fails on the way ends the nodes that were
// started, so that nothing is left behind.

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], signals, os.Stdout, os.Stderr))
}

// run is the program. What arrives on signals ends it.
func run(args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	runtime.LockOSThread() // children end with the thread that started them (spawn_linux.go)
	defer runtime.UnlockOSThread()
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "cluster:", err)
		return 2
	}
	if err := o.serve(signals, stdout); err != nil {
		fmt.Fprintln(stderr, "cluster:", err)
		return 1
	}
	return 0
}

// options are what the command line says.
type options struct {
	bin          string
	dir          string
	ports        []int
	tls          bool
	writeConcern string
	args         []string // for every server
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.bin, "bin", "bin/ayder", "the server")
	f.StringVar(&o.dir, "dir", "", "where data, logs and certificates are kept; default a temporary directory, removed at the end")
	ports := f.String("ports", "7000,8000,9000", "a port for each node; clients use the one after it")
	f.BoolVar(&o.tls, "tls", true, "mutual TLS between the nodes")
	f.StringVar(&o.writeConcern, "write-concern", "", "RF_HA_WRITE_CONCERN; default the majority")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.args = f.Args()
	o.ports, err = parsePorts(*ports)
	return o, err
}

func parsePorts(list string) (ports []int, err error) {
	taken := make(map[int]bool)
	for _, text := range strings.Split(list, ",") {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65534 {
			return nil, fmt.Errorf("-ports %s: %q is not a port from 1 to 65534", list, text)
		}
		if taken[port] || taken[port+1] {
			return nil, fmt.Errorf("-ports %s: %d and %d, which node %d needs, are not both free", list, port, port+1, len(ports)+1)
		}
		taken[port], taken[port+1] = true, true
		ports = append(ports, port)
	}
	if len(ports) > nodesMax {
		return nil, fmt.Errorf("-ports: %d nodes, the limit is %d", len(ports), nodesMax)
	}
	return ports, nil
}

// serve runs the cluster until a signal.
func (o *options) serve(signals <-chan os.Signal, stdout io.Writer) (err error) {
	keep := o.dir != ""
	if keep {
		err = os.MkdirAll(o.dir, 0o700)
	} else if o.dir, err = os.MkdirTemp("", "ayder-cluster-"); err == nil {
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if err != nil {
		return err
	}
	members := membersOf(o.ports, o.dir)
	if err := o.prepare(members); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "starting %d nodes; their logs are %s\n", len(members), filepath.Join(o.dir, "*.log"))
	for _, m := range members {
		if err := m.start(o.bin, o.args, o.settings(m, members)); err != nil {
			return errors.Join(err, stopAll(members, signals))
		}
	}
	w := watcher{o: o, members: members, out: stdout, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	err = w.watch(signals)
	fmt.Fprintln(stdout, "stopping the nodes")
	return errors.Join(err, stopAll(members, signals))
}

// certs is where the certificates are.
func (o *options) certs() string { return filepath.Join(o.dir, "certs") }

// prepare sees that the ports are free and makes the certificates; those of an earlier run are renewed, by the same authority.
func (o *options) prepare(members []*member) error {
	for _, m := range members {
		for _, addr := range []string{m.raftAddr(), m.httpAddr()} {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return fmt.Errorf("%s needs %s: %w; -ports gives others", m.id, addr, err)
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
	}
	if !o.tls {
		return nil
	}
	const year = 365 * 24 * time.Hour
	a, _, err := authority.OpenOrCreate(o.certs(), year)
	if err != nil {
		return err
	}
	for _, m := range members {
		n := authority.Node{ID: m.id, Hosts: []string{host}, From: time.Now().Add(-time.Hour), Valid: year, Replace: true}
		if _, err := a.Issue(n); err != nil {
			return err
		}
	}
	return nil
}
