#!/bin/sh
# Builds what bench/suite compares and runs it; `make bench` ends here.
#
#   ROUNDS=3 DUR=5s PARTS="produce open" bench/run.sh
#
#   PARTS     produce async open ndjson consume idle restart (default: all)
#   ROUNDS    interleaved rounds (3), DUR of one measurement (5s), MESSAGES of the restart part
#   OUT       where report.md, raw.json, pictures and logs go, and data while it runs (bench/out)
#   AYDER     the server (bin/ayder, which `make build` leaves; built here if missing)
#   FLOOR_C   source of the floor program (../shared/floor/floor.c if it is there)
#   REDIS     redis-server (the one in the PATH), NATS: nats-server (built from bench/peers/peers.mod)
#
# A peer that cannot be had is left out with a message.
set -eu
cd "$(dirname "$0")/.."
OUT=${OUT:-bench/out}
AYDER=${AYDER:-bin/ayder}
FLOOR_C=${FLOOR_C:-../shared/floor/floor.c}
REDIS=${REDIS:-$(command -v redis-server || true)}
NATS=${NATS:-}
FLOOR=
mkdir -p "$OUT/bin"

[ -x "$AYDER" ] || go build -o "$AYDER" ./cmd/ayder
go build -o "$OUT/bin/" ./bench/ayder-bench ./bench/nethttp ./bench/plot ./bench/suite
[ -n "$REDIS" ] || echo "no redis-server in the PATH: without redis" >&2
if [ -z "$NATS" ]; then
	if go build -modfile=bench/peers/peers.mod -o "$OUT/bin/nats-server" github.com/nats-io/nats-server/v2; then
		NATS=$OUT/bin/nats-server
	else
		echo "nats-server cannot be built: without nats" >&2
	fi
fi
if [ -f "$FLOOR_C" ] && cc -O2 -pthread -o "$OUT/bin/floor" "$FLOOR_C" 2>"$OUT/floor-build.log"; then
	FLOOR=$OUT/bin/floor
else
	echo "no floor program ($FLOOR_C): without floor" >&2
fi

exec "$OUT/bin/suite" -out "$OUT" -rounds "${ROUNDS:-3}" -d "${DUR:-5s}" ${WARMUP:+-warmup "$WARMUP"} \
	${MESSAGES:+-messages "$MESSAGES"} ${PARTS:+-parts "$PARTS"} \
	-ayder "$AYDER" -bench "$OUT/bin/ayder-bench" -nethttp "$OUT/bin/nethttp" -plot "$OUT/bin/plot" \
	-redis "$REDIS" -nats "$NATS" -floor "$FLOOR"
