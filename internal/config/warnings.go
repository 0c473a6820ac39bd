package config

import "fmt"

// Warnings returns what is allowed but hardly meant, a sentence each, for the caller to log. Call it after Resolve.
func (c *Config) Warnings() []string {
	if c.HA == nil {
		return c.idleWarnings()
	}
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if n := len(c.HA.Nodes); n%2 == 0 {
		warn("RF_HA_NODES has %d nodes: an even number survives no more failures than %d would", n, n-1)
	}
	if raised := fmt.Sprint(c.HA.WriteConcern); c.HAWriteConcern != "" && c.HAWriteConcern != raised {
		warn("RF_HA_WRITE_CONCERN=%s is less than a majority and more than the leader: %s is used", c.HAWriteConcern, raised)
	}
	if !c.HATLS && (c.HATLSCA != "" || c.HATLSCert != "" || c.HATLSKey != "") {
		warn("RF_HA_TLS is off: the files of RF_HA_TLS_CA, RF_HA_TLS_CERT and RF_HA_TLS_KEY are not used")
	}
	if !c.HATLS && !isLoopback(c.HA.Self().Host) {
		warn("RF_HA_TLS is off: whoever reaches port %d can read and change everything", c.HA.Self().RaftPort)
	}
	if ids := c.withoutHTTPS(); ids != "" {
		warn("RF_HA_NODES has no https_port for %s: clients that come over TLS cannot be sent there when it leads", ids)
	}
	return warnings
}

// withoutHTTPS names the nodes to which clients that came over TLS cannot be redirected, if any can come.
func (c *Config) withoutHTTPS() string {
	if c.TLSCert == "" {
		return ""
	}
	var lacking []HANode
	for _, n := range c.HA.Nodes {
		if n.HTTPSPort == 0 {
			lacking = append(lacking, n)
		}
	}
	return idsOf(lacking)
}

// idleWarnings is about a single node that was told of a cluster.
func (c *Config) idleWarnings() []string {
	if c.clusterGiven == "" || c.HAEnabled {
		return nil
	}
	return []string{fmt.Sprintf("RF_HA_ENABLED is off, so this is a single node: these settings have no effect: %s", c.clusterGiven)}
}
