package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"ayder/internal/testkit/proc"
)

// Every node has a network namespace of its own, and all are joined by one more, where a router forwards
// between them and where the clients are:
//
//	           router: 10.77.1.1  10.77.2.1  10.77.3.1      clients dial from here
//	                       |          |          |
//	nodes:             10.77.1.2  10.77.2.2  10.77.3.2
//
// A direction between two nodes is closed by a policy rule of the router, "from A to B blackhole": packets vanish
// without an answer, as on a broken line, while connections stay open on both sides, and the other
// direction goes on. Nothing but iproute2 and nsenter is needed for it; nft, iptables and tc are not.
//
// The namespaces have no names. Open files of this process hold them, so the kernel removes them, with
// their interfaces, when it ends, in whatever way. Go moves goroutines between threads and a
// namespace belongs to a thread; so whatever enters one does so on a thread that is given up afterwards.

type namespaces struct {
	router *os.File
	nodes  []*os.File
	closed []link // what is cut
}

func newNamespaces(nodes int) (network, error) {
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("network namespaces need %s (packages iproute2, util-linux); -netns=false does without them: %w", tool, err)
		}
	}
	n := &namespaces{}
	err := n.build(nodes)
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *namespaces) build(nodes int) (err error) {
	if n.router, err = newNamespace(); err != nil {
		return err
	}
	if err := within(n.router, forward); err != nil {
		return err
	}
	if err := ip(n.router, "link set lo up"); err != nil {
		return err
	}
	for i := range nodes {
		ns, err := newNamespace()
		if err != nil {
			return err
		}
		n.nodes = append(n.nodes, ns)
		if err := n.join(i); err != nil {
			return err
		}
	}
	return nil
}

// join lays the line between a node and the router.
func (n *namespaces) join(node int) error {
	number := node + 1
	err := ip(
		n.router,
		fmt.Sprintf("link add n%d type veth peer name eth0 netns %s", number, path(n.nodes[node])),
		fmt.Sprintf("addr add 10.77.%d.1/24 dev n%d", number, number),
		fmt.Sprintf("link set n%d up", number),
	)
	if err != nil {
		return err
	}
	return ip(
		n.nodes[node],
		"link set lo up",
		fmt.Sprintf("addr add %s/24 dev eth0", host(node)),
		"link set eth0 up",
		fmt.Sprintf("route add default via 10.77.%d.1", number),
	)
}

func host(node int) string { return fmt.Sprintf("10.77.%d.2", node+1) }

func (n *namespaces) endpoint(node int) endpoint { return endpoint{host(node), 1109, 7000} }

func (n *namespaces) wrap(node int) []string { return enter(n.nodes[node]) }

func (n *namespaces) faults() []faultKind { return networkFaults }

// dial makes the socket in the router's namespace; it stays there.
func (n *namespaces) dial(address string) (c *proc.Client, err error) {
	err = within(n.router, func() error {
		c, err = proc.Dial(address)
		return err
	})
	return c, err
}

// cut replaces the rules, one by one: there is no moment at which other packets have no way to go.
func (n *namespaces) cut(links []link) error {
	var changes []string
	for _, l := range n.closed {
		changes = append(changes, "rule del "+blackhole(l))
	}
	for _, l := range links {
		changes = append(changes, "rule add "+blackhole(l))
	}
	n.closed = links
	return ip(n.router, changes...)
}

func blackhole(l link) string {
	return fmt.Sprintf("from %s to %s priority 100 blackhole", host(l.from), host(l.to))
}

func (n *namespaces) close() error {
	var errs []error
	for _, f := range append(n.nodes, n.router) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// newNamespace makes an empty network namespace.
func newNamespace() (f *os.File, err error) {
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("a network namespace cannot be made: %w; run as root, or with -netns=false", err)
			return
		}
		f, err = os.Open("/proc/thread-self/ns/net")
	})
	return f, err
}

// within runs f on a thread in a namespace.
func within(ns *os.File, f func() error) (err error) {
	onThread(func() {
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter a network namespace: %w", err)
			return
		}
		err = f()
	})
	return err
}

// onThread runs f on a thread that ends with it: a goroutine that ends locked takes its thread along.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// forward makes the namespace of this thread a router.
func forward() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) }

// path names a namespace for other processes as long as this one lives.
func path(ns *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd()) }

func enter(ns *os.File) []string { return []string{"nsenter", "--net=" + path(ns), "--"} }

// ip runs commands of ip(8) in a namespace, in one go.
func ip(ns *os.File, commands ...string) error {
	words := append(enter(ns), "ip", "-batch", "-")
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(commands, "; "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
