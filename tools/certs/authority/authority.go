package authority

// The authority is a self-signed certificate with a key. It signs nodes directly (path length 0), so that nothing that
// it signed can sign others. Its key is the only thing in the directory that must be kept from the nodes; so it is opened apart
// from the certificate, and only when a node is to be signed.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"time"
)

// Authority signs certificates for the nodes of one cluster. It may be used by any goroutine.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Create makes an authority that is valid for the given time from now on, and its two files in dir, which is made if it is
// missing. Where there is one already the error is fs.ErrExist, unless replace is set: every certificate of the old one is
// worthless then.
func Create(dir string, valid time.Duration, replace bool) (*Authority, error) {
	now := time.Now()
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: fmt.Sprintf("Ayder cluster %x", serial.Bytes()[:4])},
		NotBefore:    now.Add(-skew), NotAfter: now.Add(valid),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, cert: cert, key: key}
	return a, writePair(dir, name, cert, key, replace)
}

// Open finds the authority of a directory. Where there is none the error is fs.ErrNotExist.
func Open(dir string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(CertFile(dir, name), KeyFile(dir, name))
	if err != nil {
		return nil, fmt.Errorf("authority of %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return nil, fmt.Errorf("authority of %s: its key is not ECDSA", dir)
	case !pair.Leaf.IsCA:
		return nil, fmt.Errorf("authority of %s: %s is not the certificate of an authority", dir, CertFile(dir, name))
	case time.Now().After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("authority of %s: expired on %s", dir, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &Authority{dir: dir, cert: pair.Leaf, key: key}, nil
}

// OpenOrCreate finds the authority of a directory, or makes one where there is neither certificate nor key.
func OpenOrCreate(dir string, valid time.Duration) (a *Authority, created bool, err error) {
	if exists(CertFile(dir, name)) || exists(KeyFile(dir, name)) {
		a, err = Open(dir)
		return a, false, err
	}
	a, err = Create(dir, valid, false)
	return a, true, err
}

// Name is what the authority calls itself. It is different for every one, so that a log line can tell two apart.
func (a *Authority) Name() string { return a.cert.Subject.CommonName }

// CertFile is where the certificate of a node is, KeyFile where its key is.
func CertFile(dir, id string) string { return filepath.Join(dir, id+".crt") }

// KeyFile is where the key of a node is.
func KeyFile(dir, id string) string { return filepath.Join(dir, id+".key") }

// CAFile is where the authority's certificate is.
func CAFile(dir string) string { return CertFile(dir, name) }

// sign makes the certificate that template describes.
func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// newSerial is a random positive number of 16 bytes (RFC 5280 section 4.1.2.2 allows 20), the first of which is not 0.
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, errors.Join(errors.New("no random numbers"), err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}
