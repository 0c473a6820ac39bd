#!/bin/sh
# Starts node4, which the others do not know yet: it waits until it is added to the running cluster (POST /ha/membership/add).
set -eu
cd "$(dirname "$0")"
set -a
. ./cluster.env
RF_HA_NODES=$RF_HA_NODES,node4:127.0.0.1:10000:10
RF_HA_NODE_ID=node4
RF_HA_TLS_CA=run/certs/ca.crt
RF_HA_TLS_CERT=run/certs/node4.crt
RF_HA_TLS_KEY=run/certs/node4.key
exec ../../bin/ayder serve --data-dir run/node4 "$@"
