package config

// How settings fit together. Parse has checked each by itself; Resolve fills in what an empty one
// means and refuses combinations that cannot work, or that would open a server to the network with
// a token everybody knows.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
)

// DevMode reports whether no token is configured: the token is then "dev".
func (c *Config) DevMode() bool { return c.BearerTokens == "" && c.BearerTokensFile == "" }

// Resolve fills in Listen, TLSListen, Loops and HA where they were left open, and checks that the
// settings fit together. All faults come in one joined error. It reads no file, but looks whether those of the
// cluster's TLS can be read.
func (c *Config) Resolve() error {
	if c.Loops == 0 {
		c.Loops = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return errors.Join(
		c.resolveHA(), // first: it may say where HTTP is served
		c.resolveListen(),
		c.resolveTLS(),
		c.checkTokens(),
		c.checkOrigins(),
		c.checkSizes(),
	)
}

// resolveListen settles the address of plain HTTP.
func (c *Config) resolveListen() error {
	if c.Listen == "" {
		c.Listen = c.addressOf(portDefault)
	}
	host, port, err := splitAddress("listen", c.Listen)
	if err != nil {
		return err
	}
	if c.Port != 0 {
		port = strconv.Itoa(c.Port)
		c.Port = 0
	}
	c.Listen = net.JoinHostPort(host, port)
	return c.checkExposure("listen", host)
}

// resolveTLS settles the address of HTTPS, which is served if and only if there is a certificate.
func (c *Config) resolveTLS() error {
	switch {
	case c.TLSCert == "" && c.TLSKey == "" && c.TLSListen == "":
		return nil
	case c.TLSCert == "" || c.TLSKey == "":
		return errors.New("tls-listen, tls-cert and tls-key go together: both the certificate and the key are needed")
	case c.TLSListen == "":
		c.TLSListen = c.addressOf(tlsPortDefault)
	}
	host, port, err := splitAddress("tls-listen", c.TLSListen)
	if err != nil {
		return err
	}
	c.TLSListen = net.JoinHostPort(host, port)
	if c.TLSListen == c.Listen && port != "0" {
		return fmt.Errorf("listen and tls-listen are both %s", c.Listen)
	}
	return c.checkExposure("tls-listen", host)
}

// addressOf is where the server listens when nobody said: on loopback as long as the token is no
// secret.
func (c *Config) addressOf(port int) string {
	host := ""
	if c.DevMode() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// checkOrigins refuses what no browser sends as an origin: it would never match.
func (c *Config) checkOrigins() error {
	list := strings.Split(c.CORSOrigin, ",")
	if len(list) > originsMax {
		return fmt.Errorf("cors-origin: more than %d origins", originsMax)
	}
	for _, origin := range list {
		origin = strings.TrimSpace(origin)
		u, err := url.Parse(origin)
		switch {
		case origin == "*" || origin == "" && len(list) == 1:
		case err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin:
			return fmt.Errorf("cors-origin: %q is not scheme://host[:port] in lower case, or *", origin)
		}
	}
	return nil
}

// checkExposure refuses an address beyond loopback in dev mode, unless it is meant.
func (c *Config) checkExposure(name, host string) error {
	if !c.DevMode() || c.Dev || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%s: without tokens the server listens on loopback only; set RF_BEARER_TOKENS, or give --dev to "+
		"open it to everybody with the token dev", name)
}

func (c *Config) checkTokens() error {
	if c.BearerTokens != "" && c.BearerTokensFile != "" {
		return errors.New("RF_BEARER_TOKENS and bearer-tokens-file are both set: give one of them")
	}
	return nil
}

func (c *Config) checkSizes() error {
	var faults []error
	if c.RequestLineBytesMax > c.HeadBytesMax {
		faults = append(faults, fmt.Errorf("request-line-bytes (%s) is more than head-bytes (%s), which includes it",
			formatSize(int64(c.RequestLineBytesMax)), formatSize(int64(c.HeadBytesMax))))
	}
	if c.SegmentBytes < bodiesPerSegmentMin*c.BodyBytesMax {
		faults = append(faults, fmt.Errorf("segment-bytes (%s) is less than %d times body-bytes (%s): the longest body would not fit",
			formatSize(c.SegmentBytes), bodiesPerSegmentMin, formatSize(c.BodyBytesMax)))
	}
	return errors.Join(faults...)
}

// splitAddress takes host:port apart; name is the setting that an error names.
func splitAddress(name, address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("%s=%q: want host:port, with an IPv6 host in brackets", name, address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", "", fmt.Errorf("%s=%q: the port must be a number from 0 to 65535", name, address)
	}
	return host, port, nil
}

// isLoopback does not ask a name server: of names it knows only localhost.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
