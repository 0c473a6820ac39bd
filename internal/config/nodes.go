package config

// RF_HA_NODES, the list of the cluster's nodes:
//
//	id:host:raft_port:priority[:http_port[:https_port]],id:host:…
//	node1:10.0.0.1:7000:100,node2:[fd00::2]:7000:90,node3:db3.example.org:7000:80:8080:8443
//
// An IPv6 host stands in brackets, because its colons are not separators. Blanks around an entry are ignored, so that
// the list may be written over several lines. Every fault is reported, each with the entry it is in; nothing is
// guessed: an entry that could be read in two ways is refused.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// HANode is one node of a cluster, as RF_HA_NODES names it.
type HANode struct {
	ID       string // letters, digits, '-', '_' and '.'; up to 63 bytes
	Host     string // name or address under which the others and the clients reach it; IPv6 without brackets
	RaftPort int    // 1…65535
	Priority int    // 0…1,000,000; the healthy node with the highest leads
	HTTPPort int    // 1…65535
	// HTTPSPort is where clients go that speak TLS, 1…65535; 0: nowhere.
	HTTPSPort int
}

// RaftAddr is host:port of replication, with an IPv6 host in brackets.
func (n *HANode) RaftAddr() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.RaftPort)) }

// HTTPAddr is host:port of HTTP, to which clients are redirected.
func (n *HANode) HTTPAddr() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.HTTPPort)) }

// HTTPSAddr is host:port of HTTPS, to which clients are redirected that came over TLS; empty if there is none.
func (n *HANode) HTTPSAddr() string {
	if n.HTTPSPort == 0 {
		return ""
	}
	return net.JoinHostPort(n.Host, strconv.Itoa(n.HTTPSPort))
}

// String is the node as RF_HA_NODES has it, http_port included.
func (n *HANode) String() string {
	host := n.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	text := fmt.Sprintf("%s:%s:%d:%d:%d", n.ID, host, n.RaftPort, n.Priority, n.HTTPPort)
	if n.HTTPSPort != 0 {
		text += ":" + strconv.Itoa(n.HTTPSPort)
	}
	return text
}

// ParseNodes reads the text of RF_HA_NODES. All faults come in one joined error; they do not name the variable.
func ParseNodes(list string) ([]HANode, error) {
	var nodes []HANode
	var faults []error
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		n, err := parseNode(text)
		if err != nil {
			faults = append(faults, named(fmt.Sprintf("entry %d (%q)", i+1, text), err))
			continue
		}
		nodes = append(nodes, n)
	}
	if len(nodes) > haNodesMax {
		faults = append(faults, fmt.Errorf("%d nodes, the limit is %d", len(nodes), haNodesMax))
	}
	if err := errors.Join(append(faults, checkDistinct(nodes))...); err != nil {
		return nil, err
	}
	return nodes, nil
}

// named puts a name before every fault of a joined error, so that each line stands for itself.
func named(name string, err error) error {
	var faults []error
	for line := range strings.Lines(err.Error()) {
		faults = append(faults, fmt.Errorf("%s: %s", name, strings.TrimSuffix(line, "\n")))
	}
	return errors.Join(faults...)
}

var errNodeShape = errors.New("want id:host:raft_port:priority[:http_port[:https_port]], with an IPv6 host in brackets")

// parseNode reads one entry.
func parseNode(text string) (n HANode, err error) {
	id, rest, _ := strings.Cut(text, ":")
	host, rest, ok := cutHost(rest)
	numbers := strings.Split(rest, ":")
	if !ok || len(numbers) < 2 || len(numbers) > 4 {
		return HANode{}, errNodeShape
	}
	n = HANode{ID: id, Host: host}
	faults := []error{checkNodeID(id), checkHost(host)}
	read := func(to *int, name, text string, least, most int) {
		if err := number(to, least, most).set(text); err != nil {
			faults = append(faults, fmt.Errorf("%s %q: %w", name, text, err))
		}
	}
	read(&n.RaftPort, "raft_port", numbers[0], 1, portMax)
	read(&n.Priority, "priority", numbers[1], 0, priorityMax)
	switch {
	case len(numbers) >= 3:
		read(&n.HTTPPort, "http_port", numbers[2], 1, portMax)
	case n.RaftPort == portMax:
		faults = append(faults, errors.New("raft_port 65535 leaves no http_port after it: give one"))
	default:
		n.HTTPPort = n.RaftPort + 1
	}
	if len(numbers) == 4 {
		read(&n.HTTPSPort, "https_port", numbers[3], 1, portMax)
	}
	faults = append(faults, n.checkPorts())
	if err := errors.Join(faults...); err != nil {
		return HANode{}, err
	}
	return n, nil
}

// checkPorts finds ports that are used twice. One that is 0 was refused, or is not given.
func (n *HANode) checkPorts() error {
	var faults []error
	same := func(a, b string, x, y int) {
		if x == y && x != 0 {
			faults = append(faults, fmt.Errorf("%s and %s are both %d", a, b, x))
		}
	}
	same("raft_port", "http_port", n.RaftPort, n.HTTPPort)
	same("raft_port", "https_port", n.RaftPort, n.HTTPSPort)
	same("http_port", "https_port", n.HTTPPort, n.HTTPSPort)
	return errors.Join(faults...)
}

// cutHost takes the host off the front of host:rest. An address in brackets is checked here, because without
// brackets it is not one: of a text with "::" nobody can say where the address ends.
func cutHost(text string) (host, rest string, ok bool) {
	inside, bracketed := strings.CutPrefix(text, "[")
	if !bracketed {
		host, rest, ok = strings.Cut(text, ":")
		return host, rest, ok && !strings.Contains(text, "::")
	}
	host, rest, ok = strings.Cut(inside, "]:")
	ip, err := netip.ParseAddr(host)
	return host, rest, ok && err == nil && ip.Is6()
}

// checkNodeID takes what a host name's label may be made of, '_' and '.', because certificates carry the id.
func checkNodeID(id string) error {
	if id == "" || len(id) > nodeIDBytesMax || !isNameText(id) {
		return fmt.Errorf("node id %q: want 1 to %d letters, digits, '-', '_' or '.', a letter or digit first", id, nodeIDBytesMax)
	}
	return nil
}

// checkHost takes an address or what may be a name; names are not looked up.
func checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("host %s: no other node can connect to that address", host)
		}
		return nil
	}
	if host == "" || len(host) > hostBytesMax || !isNameText(host) || isNumeric(host) {
		return fmt.Errorf("host %q: want a host name or an address", host)
	}
	return nil
}

// isNameText reports whether text is letters, digits, '-', '_' and '.', and begins with a letter or digit.
func isNameText(text string) bool {
	for i := range len(text) {
		c := text[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}

// isNumeric reports whether text looks like an IPv4 address and so, not being one, is a mistyped one.
func isNumeric(text string) bool { return strings.Trim(text, "0123456789.") == "" }

// checkDistinct finds ids and addresses that two nodes share. Ids that differ only in case count as the same:
// certificates carry them as host names, in which case means nothing.
func checkDistinct(nodes []HANode) error {
	var faults []error
	ids, addresses := make(map[string]bool), make(map[string]string)
	for i := range nodes {
		n := &nodes[i]
		if id := strings.ToLower(n.ID); ids[id] {
			faults = append(faults, fmt.Errorf("node id %q is used twice", n.ID))
		} else {
			ids[id] = true
		}
		for _, port := range []int{n.RaftPort, n.HTTPPort, n.HTTPSPort} {
			if port == 0 {
				continue
			}
			address := net.JoinHostPort(canonical(n.Host), strconv.Itoa(port))
			if other, taken := addresses[address]; taken {
				faults = append(faults, fmt.Errorf("nodes %s and %s both have the address %s", other, n.ID, address))
			} else {
				addresses[address] = n.ID
			}
		}
	}
	return errors.Join(faults...)
}

// canonical is the one spelling of a host by which two are compared.
func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
