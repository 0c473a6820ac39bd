package raftlog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// TLS between nodes: version 1.3 alone, both sides show a certificate, and the cluster's own CA is the only one that
// counts; what the operating system trusts does not. The certificate must name the node's id, as a DNS name or as its
// common name. Host names are not looked at: which node is meant is known when it has said its hello, and only then is
// the certificate compared with it (checkIdentity). So a certificate stays good when a node moves to another machine.
//
// Sessions are not resumed: a resumed one would not look at the certificate's dates again, and connections are few.
//
// A refusal is one line in the log of the node that refuses (refusalText): foreign CA, expired, none, another's name, no TLS
// at all. A repeated refusal is repeated in the log every ten seconds.

// TLS is what a node shows and believes, read from files, and again when it is told to. Both take effect with the next
// connection; those that exist go on.
type TLS struct {
	caFile, certFile, keyFile, nodeID string

	now atomic.Pointer[tlsConfigs] // swapped by Reload; read by every handshake
}

type tlsConfigs struct{ server, client *tls.Config }

// LoadTLS reads PEM files, see TLSConfigs.
func LoadTLS(caFile, certFile, keyFile, nodeID string) (*TLS, error) {
	t := &TLS{caFile: caFile, certFile: certFile, keyFile: keyFile, nodeID: nodeID}
	return t, t.Reload()
}

// Reload reads the files again. After an error what was read before stays in force.
func (t *TLS) Reload() error {
	server, client, err := TLSConfigs(t.caFile, t.certFile, t.keyFile, t.nodeID)
	if err == nil {
		t.now.Store(&tlsConfigs{server, client})
	}
	return err
}

// Server is for the listener, for its whole life.
func (t *TLS) Server() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.now.Load().server, nil },
	}
}

// Client is for the next connection that is dialed.
func (t *TLS) Client() *tls.Config { return t.now.Load().client }

// TLSConfigs reads PEM files: the CA's certificate, this node's certificate, with those between it and the CA behind it if
// there are any, and its key. server is for the listener,
// client for the dialer. A certificate of this node's own that the others would refuse is an error.
func TLSConfigs(caFile, certFile, keyFile, nodeID string) (server, client *tls.Config, err error) {
	pool, err := loadCA(caFile)
	if err != nil {
		return nil, nil, err
	}
	own, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("raftlog: certificate %s, key %s: %w", certFile, keyFile, err)
	}
	if err := checkOwn(&own, pool, nodeID); err != nil {
		return nil, nil, fmt.Errorf("raftlog: certificate %s: %w", certFile, err)
	}
	server = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, SessionTicketsDisabled: true,
	}
	client = &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool,
		// Shown even to a server that names another CA, so that its refusal says what is wrong.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
		InsecureSkipVerify:   true, // of the host's name alone: VerifyConnection does the rest, checkIdentity the name
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyChain(s.PeerCertificates, pool, x509.ExtKeyUsageServerAuth)
		},
	}
	return server, client, nil
}

func loadCA(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("raftlog: CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("raftlog: CA: %s holds no certificate", file)
	}
	return pool, nil
}

// checkOwn looks at this node's certificate as the others will, from both ends of a connection.
func checkOwn(own *tls.Certificate, pool *x509.CertPool, nodeID string) error {
	var chain []*x509.Certificate
	for _, der := range own.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, c)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := verifyChain(chain, pool, use); err != nil {
			return errors.New(refusalText(err))
		}
	}
	return checkName(chain[0], nodeID)
}

// verifyChain verifies the first of certs, with the others as what may lie between it and the CA.
func verifyChain(certs []*x509.Certificate, pool *x509.CertPool, use x509.ExtKeyUsage) error {
	if len(certs) == 0 {
		return errNoCertificate
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: err}
	}
	return nil
}

var errNoCertificate = errors.New("it shows no certificate")

// checkIdentity compares the peer's certificate, if the connection has TLS, with whom the peer says it is.
func checkIdentity(conn net.Conn, nodeID string) error {
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	certs := c.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return fmt.Errorf("%w: node %q: %w", errRefused, nodeID, errNoCertificate)
	}
	if err := checkName(certs[0], nodeID); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

func checkName(cert *x509.Certificate, nodeID string) error {
	if cert.Subject.CommonName == nodeID || slices.Contains(cert.DNSNames, nodeID) {
		return nil
	}
	return fmt.Errorf("the certificate names %q and %q, not the node %q", cert.Subject.CommonName, cert.DNSNames, nodeID)
}

// isRefusal tells, of an error of a dialer that completes the TLS handshake itself, that this node or the other refused.
func isRefusal(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		noTLS       tls.RecordHeaderError
		alert       *net.OpError
	)
	return errors.As(err, &certificate) || errors.As(err, &noTLS) || errors.As(err, &alert) && alert.Op == "remote error"
}

// refusalText says in an operator's words why a connection was refused.
func refusalText(err error) string {
	var (
		foreign x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		noTLS   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &foreign):
		return "its certificate was not signed by this cluster's CA"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate is valid from %s to %s only",
			invalid.Cert.NotBefore.Format(time.DateTime), invalid.Cert.NotAfter.Format(time.DateTime))
	case errors.As(err, &noTLS):
		return "it does not speak TLS"
	case err.Error() == "tls: client didn't provide a certificate":
		return errNoCertificate.Error()
	}
	return err.Error()
}
