package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// name is that of the authority's own files.
const name = "ca"

// writePair writes the certificate and the key of id. The key comes first and nobody else may read it; a file is
// complete as soon as it is there.
func writePair(dir, id string, cert *x509.Certificate, key *ecdsa.PrivateKey, replace bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	keyFile, certFile := KeyFile(dir, id), CertFile(dir, id)
	for _, path := range []string{keyFile, certFile} {
		if !replace && exists(path) {
			return fmt.Errorf("%s: %w", path, fs.ErrExist)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", id, err)
	}
	if err := writePEM(keyFile, "PRIVATE KEY", der, 0o600); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", cert.Raw, 0o644)
}

// writePEM writes one block beside the file and renames it, so that nobody sees a half and an old file stays whole until
// the new one is.
func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // which is gone if it was renamed
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
