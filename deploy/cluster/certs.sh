#!/bin/sh
# Makes the cluster's certificate authority and a certificate for each node, in run/certs. Flags of tools/certs may be
# given: "certs.sh -renew" replaces the certificates of the nodes.
set -eu
cd "$(dirname "$0")/../.."
exec go run ./tools/certs -dir deploy/cluster/run/certs "$@" node1=127.0.0.1 node2=127.0.0.1 node3=127.0.0.1
