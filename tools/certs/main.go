// Command certs makes the certificates with which the nodes of a cluster know each other.
//
//	go run ./tools/certs -dir DIR node1=10.0.0.1 node2=10.0.0.2,db2.example.org node3=[fd00::3] …
//
// Each argument is a node's id, as in RF_HA_NODES, and the names and addresses under which it is reached. DIR gets ca.crt, ca.key,
// and ID.crt and ID.key for each node. A node needs ca.crt and its own two files:
//
//	RF_HA_TLS=1 RF_HA_TLS_CA=DIR/ca.crt RF_HA_TLS_CERT=DIR/node1.crt RF_HA_TLS_KEY=DIR/node1.key
//
// The authority in DIR is used if there is one, so that nodes can be added later; it is never replaced unless -new-ca
// says so.
// Certificates of nodes are replaced only with -renew. Exit status: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"ayder/tools/certs/authority"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "certs:", err)
		return 2
	}
	if err := o.make(stdout); err != nil {
		fmt.Fprintln(stderr, "certs:", err)
		return 1
	}
	return 0
}

// options are what the command line says.
type options struct {
	dir     string
	newCA   bool
	renew   bool
	caValid time.Duration
	nodes   []authority.Node
}

const day = 24 * time.Hour

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("certs", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.dir, "dir", "", "directory of the certificates, made if it is missing")
	f.BoolVar(&o.newCA, "new-ca", false, "make a new authority even if there is one; certificates that it signed are worthless then, and those of the given nodes are renewed")
	f.BoolVar(&o.renew, "renew", false, "replace the certificates and keys that nodes have already")
	caDays := f.Int("ca-days", 3650, "validity of a new authority")
	days := f.Int("days", 825, "validity of the nodes' certificates")
	from := f.String("from", "", "when it begins, as 2006-01-02; default an hour ago")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	begin := time.Now().Add(-time.Hour)
	if *from != "" {
		if begin, err = time.Parse(time.DateOnly, *from); err != nil {
			return o, fmt.Errorf("-from %s: want a day as 2006-01-02", *from)
		}
	}
	if o.dir == "" || f.NArg() == 0 || *days < 1 || *caDays < 1 {
		return o, errors.New("want -dir DIR and nodes, as in -dir certs node1=10.0.0.1 node2=10.0.0.2; validities are one day or more")
	}
	o.caValid = time.Duration(*caDays) * day
	for _, arg := range f.Args() {
		n, err := parseNode(arg)
		if err != nil {
			return o, err
		}
		n.From, n.Valid, n.Replace = begin, time.Duration(*days)*day, o.renew || o.newCA
		o.nodes = append(o.nodes, n)
	}
	return o, checkDistinct(o.nodes)
}

// parseNode reads id=host,host or a bare id.
func parseNode(arg string) (n authority.Node, err error) {
	id, hosts, has := strings.Cut(arg, "=")
	n.ID = id
	if has {
		n.Hosts = strings.Split(hosts, ",")
	}
	if err := n.Check(); err != nil {
		return n, fmt.Errorf("%s: %w", arg, err)
	}
	return n, nil
}

// checkDistinct finds an id that was given twice: the second certificate would replace the first.
func checkDistinct(nodes []authority.Node) error {
	seen := make(map[string]bool)
	for _, n := range nodes {
		id := strings.ToLower(n.ID)
		if seen[id] {
			return fmt.Errorf("node %s is given twice; write all its hosts as %s=HOST,HOST", n.ID, n.ID)
		}
		seen[id] = true
	}
	return nil
}

func (o *options) make(stdout io.Writer) error {
	a, created, err := o.authority()
	if err != nil {
		return err
	}
	verb := "uses the authority"
	if created {
		verb = "made the authority"
	}
	fmt.Fprintf(stdout, "%s %q, %s\n", verb, a.Name(), authority.CAFile(o.dir))
	for _, n := range o.nodes {
		expires, err := a.Issue(n)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w; -renew replaces it", err)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: %s, valid until %s\n", n.ID, authority.CertFile(o.dir, n.ID), expires.Format(time.DateOnly))
	}
	return nil
}

func (o *options) authority() (a *authority.Authority, created bool, err error) {
	if o.newCA {
		a, err = authority.Create(o.dir, o.caValid, true)
		return a, true, err
	}
	a, created, err = authority.OpenOrCreate(o.dir, o.caValid)
	if err != nil {
		err = fmt.Errorf("%w; -new-ca replaces it", err)
	}
	return a, created, err
}
