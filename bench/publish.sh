#!/bin/sh
# Makes BENCHMARKS.md out of the last run of bench/run.sh: bench/preface.md, then the
# report as it is, with its pictures copied to bench/pictures and linked there.
#
#   OUT=bench/out bench/publish.sh
set -eu
cd "$(dirname "$0")/.."
OUT=${OUT:-bench/out}
[ -f "$OUT/report.md" ] || { echo "no report in $OUT: run bench/run.sh first" >&2; exit 1; }
mkdir -p bench/pictures
for picture in "$OUT"/*.svg; do
	[ -e "$picture" ] && cp "$picture" bench/pictures/
done
{
	cat bench/preface.md
	sed -e 's/^#/##/' -e 's|](\([^/)]*\.svg\))|](bench/pictures/\1)|' "$OUT/report.md"
} >BENCHMARKS.md
echo "wrote BENCHMARKS.md"
