package authority

// A node's certificate. It names the node twice: as the subject's common name and as a DNS name, because it is the id that
// the others check, not the address (a node that moves keeps its certificate). The hosts are for clients that check
// addresses, as curl does. It is good for both roles, since every node is server and client of every other.

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Node describes a certificate.
type Node struct {
	ID      string   // as in RF_HA_NODES
	Hosts   []string // names and addresses under which it is reached
	From    time.Time
	Valid   time.Duration // at most until the authority's end
	Replace bool          // an older certificate of that node may be overwritten
}

// Issue makes a key and a certificate for a node, and their files, and returns when the certificate expires. A node
// that has either already is an error that is fs.ErrExist, unless n.Replace is set.
func (a *Authority) Issue(n Node) (expires time.Time, err error) {
	template, err := n.template()
	if err != nil {
		return expires, err
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	key, err := newKey()
	if err != nil {
		return expires, err
	}
	cert, err := sign(template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return expires, err
	}
	return cert.NotAfter, writePair(a.dir, n.ID, cert, key, n.Replace)
}

// Check reports what is wrong with the description.
func (n *Node) Check() error {
	_, err := n.template()
	return err
}

func (n *Node) template() (*x509.Certificate, error) {
	if err := checkID(n.ID); err != nil {
		return nil, err
	}
	if len(n.Hosts) > hostsMax {
		return nil, fmt.Errorf("node %s has %d hosts, the limit is %d", n.ID, len(n.Hosts), hostsMax)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: n.ID},
		NotBefore:    n.From, NotAfter: n.From.Add(n.Valid),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:              []string{n.ID},
	}
	for _, host := range n.Hosts {
		if err := addHost(t, host); err != nil {
			return nil, fmt.Errorf("node %s: %w", n.ID, err)
		}
	}
	return t, nil
}

// addHost adds a name or an address, which may be an IPv6 one in brackets.
func addHost(t *x509.Certificate, host string) error {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.Unmap().AsSlice()))
		return nil
	}
	if len(host) > hostBytesMax || !isName(host) || strings.Trim(host, "0123456789.") == "" {
		return fmt.Errorf("host %q is neither a name nor an address", host)
	}
	if host != t.Subject.CommonName {
		t.DNSNames = append(t.DNSNames, host)
	}
	return nil
}

// checkID takes what RF_HA_NODES takes, but for the name that the authority's own files have.
func checkID(id string) error {
	switch {
	case len(id) > idBytesMax || !isName(id):
		return fmt.Errorf("node id %q: want 1 to %d letters, digits, '-', '_' or '.', a letter or digit first", id, idBytesMax)
	case strings.EqualFold(id, name):
		return fmt.Errorf("node id %q: the files of the authority are called so", id)
	}
	return nil
}

// isName reports whether text is letters, digits, '-', '_' and '.', beginning with a letter or digit. Such a text is
// a file's name in the directory and never a path out of it.
func isName(text string) bool {
	for i := range len(text) {
		c := text[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return text != ""
}
