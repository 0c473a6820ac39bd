#!/bin/sh
# Starts node1. It founds the cluster when there is none yet; after that the variable changes nothing.
set -eu
cd "$(dirname "$0")"
set -a
. ./cluster.env
RF_HA_NODE_ID=node1
RF_HA_BOOTSTRAP_LEADER=1
RF_HA_TLS_CA=run/certs/ca.crt
RF_HA_TLS_CERT=run/certs/node1.crt
RF_HA_TLS_KEY=run/certs/node1.key
exec ../../bin/ayder serve --data-dir run/node1 "$@"
