#!/bin/sh
# Builds what bench/suite compares and runs it; `make bench` ends here.
#
#   ROUNDS=3 DUR=5s PARTS="produce open" bench/run.sh
#
#   PARTS     produce async open ndjson consume live query idle restart, and with three nodes cluster leader failover rejoin
#             (default: all)
#   ROUNDS    interleaved rounds (3), DUR of one measurement (5s), MESSAGES of the parts restart and rejoin (8000000)
#   QUERY_MESSAGES  of the part query (1000000)
#   LEADER_D  how long the part leader lasts (60s), KILLS of the part failover (20)
#   REJOIN_MESSAGES  that a follower misses in the part rejoin (1000000)
#   OUT       where report.md, raw.json, facts.json, pictures and logs go, and data while it runs (bench/out)
#   AYDER     the server (bin/ayder, which `make build` leaves; built here if missing)
#   FLOOR_C   source of the floor program (../shared/floor/floor.c if it is there)
#   REDIS     redis-server (the one in the PATH), NATS: nats-server (built from bench/peers/peers.mod),
#             ETCD: etcd (built from bench/peers/etcd)
#
# A peer that cannot be had is left out with a message.
set -eu
cd "$(dirname "$0")/.."
OUT=${OUT:-bench/out}
AYDER=${AYDER:-bin/ayder}
FLOOR_C=${FLOOR_C:-../shared/floor/floor.c}
REDIS=${REDIS:-$(command -v redis-server || true)}
NATS=${NATS:-}
ETCD=${ETCD:-}
ETCD_BENCH=
FLOOR=
mkdir -p "$OUT/bin"
BIN=$(cd "$OUT/bin" && pwd)

[ -x "$AYDER" ] || go build -o "$AYDER" ./cmd/ayder
go build -o "$BIN/" ./bench/ayder-bench ./bench/live ./bench/nethttp ./bench/plot ./bench/suite ./tools/certs
[ -n "$REDIS" ] || echo "no redis-server in the PATH: without redis" >&2
if [ -z "$NATS" ]; then
	if go build -modfile=bench/peers/peers.mod -o "$BIN/nats-server" github.com/nats-io/nats-server/v2; then
		NATS=$BIN/nats-server
	else
		echo "nats-server cannot be built: without nats" >&2
	fi
fi
# etcd is a module of its own, which names the server as a tool.
if (cd bench/peers/etcd && go build -o "$BIN/etcd-bench" . && { [ -n "$ETCD" ] || go build -o "$BIN/etcd" go.etcd.io/etcd/server/v3; }); then
	ETCD=${ETCD:-$BIN/etcd}
	ETCD_BENCH=$BIN/etcd-bench
else
	ETCD=
	echo "etcd cannot be built: without etcd" >&2
fi
if [ -f "$FLOOR_C" ] && cc -O2 -pthread -o "$BIN/floor" "$FLOOR_C" 2>"$OUT/floor-build.log"; then
	FLOOR=$BIN/floor
else
	echo "no floor program ($FLOOR_C): without floor" >&2
fi

exec "$BIN/suite" -out "$OUT" -rounds "${ROUNDS:-3}" -d "${DUR:-5s}" ${WARMUP:+-warmup "$WARMUP"} \
	${MESSAGES:+-messages "$MESSAGES"} ${QUERY_MESSAGES:+-query-messages "$QUERY_MESSAGES"} ${PARTS:+-parts "$PARTS"} \
	${LEADER_D:+-leader-d "$LEADER_D"} ${KILLS:+-kills "$KILLS"} ${REJOIN_MESSAGES:+-rejoin-messages "$REJOIN_MESSAGES"} \
	-ayder "$AYDER" -bench "$BIN/ayder-bench" -live "$BIN/live" -nethttp "$BIN/nethttp" -plot "$BIN/plot" -certs "$BIN/certs" \
	-redis "$REDIS" -nats "$NATS" -floor "$FLOOR" -etcd "$ETCD" -etcd-bench "$ETCD_BENCH"
