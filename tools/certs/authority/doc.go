// Package authority is a certificate authority for one cluster: it signs, for every node, a certificate with which the node is
// both server and client to the others.
//
//	authority.go  the authority: made, kept in a directory, found again there
//	node.go       what a node's certificate says
//	files.go      the files of the directory
//
// A directory holds
//
//	ca.crt    the authority's certificate; every node needs it, it is no secret
//	ca.key    its key; only whoever adds nodes needs it. Whoever has it can join the cluster
//	ID.crt    the certificate of node ID
//	ID.key    its key, for that node alone
//
// Keys are ECDSA over P-256: every TLS library has it, and a handshake costs little. Nothing is revoked: a cluster that
// must forget a node's key gets a new authority. It is what make cluster and the tests use, and enough for a cluster
// whose operator has no authority yet; any other that makes such certificates does as well.
package authority
