#!/bin/sh
# Starts node3. It waits for the others, joins and catches up.
set -eu
cd "$(dirname "$0")"
set -a
. ./cluster.env
RF_HA_NODE_ID=node3
RF_HA_TLS_CA=run/certs/ca.crt
RF_HA_TLS_CERT=run/certs/node3.crt
RF_HA_TLS_KEY=run/certs/node3.key
exec ../../bin/ayder serve --data-dir run/node3 "$@"
