package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"ayder/internal/auth"
	"ayder/internal/config"
	"ayder/raftlog"
)

// What SIGHUP has the server read again: tokens, its certificate for clients, its certificate and authority among the nodes.
// Each by itself: a file that is no good leaves what was read before in force, is logged, and keeps nothing else from being
// taken over. Connections that exist go on with what they began with; a certificate is looked at when one begins.

// secrets is all of that.
type secrets struct {
	c      *config.Config
	logger *slog.Logger
	tokens *auth.Holder
	https  *keyPair     // nil: no TLS for clients
	nodes  *raftlog.TLS // nil: none between nodes
}

// reload reads everything again.
func (s *secrets) reload() {
	if s.c.BearerTokensFile != "" {
		s.took("tokens", s.reloadTokens())
	}
	if s.https != nil {
		s.took("certificate for clients", s.https.reload())
	}
	if s.nodes != nil {
		s.took("certificates between nodes", s.nodes.Reload())
	}
}

// took logs what became of one.
func (s *secrets) took(what string, err error) {
	if err != nil {
		s.logger.Error(what+" not taken over; what was read before stays in force", "error", err)
		return
	}
	s.logger.Info(what + " read again")
}

func (s *secrets) reloadTokens() error {
	t, err := loadTokens(s.c)
	if err == nil {
		s.tokens.Swap(t)
	}
	return err
}

func loadTokens(c *config.Config) (*auth.Tokens, error) {
	switch {
	case c.BearerTokensFile != "":
		return auth.ParseFile(c.BearerTokensFile)
	case c.DevMode():
		return auth.Dev(), nil
	}
	return auth.Parse(string(c.BearerTokens))
}

// keyPair is what clients are shown, from two files.
type keyPair struct {
	certFile, keyFile string
	now               atomic.Pointer[tls.Certificate] // swapped by reload; read by every handshake
}

// loadKeyPair reads it for the first time. One that has expired is taken: the server may be wanted all the same.
func loadKeyPair(certFile, keyFile string) (*keyPair, error) {
	c := &keyPair{certFile: certFile, keyFile: keyFile}
	read, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	c.now.Store(&read)
	return c, nil
}

var errExpired = errors.New("the certificate has expired")

// reload reads it again. One that has expired is not put in the place of another.
func (c *keyPair) reload() error {
	read, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	if read.Leaf.NotAfter.Before(time.Now()) {
		return fmt.Errorf("%s: %w on %s", c.certFile, errExpired, read.Leaf.NotAfter.Format(time.DateTime))
	}
	c.now.Store(&read)
	return nil
}

// config is for the listener.
func (c *keyPair) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}
