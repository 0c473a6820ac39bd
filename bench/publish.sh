#!/bin/sh
# Makes BENCHMARKS.md out of runs of bench/run.sh: bench/preface.md, then each run's report as it is. Pictures are copied to
# bench/pictures and linked there, raw figures to bench/results.
#
#   bench/publish.sh                     the run in bench/out (or OUT)
#   bench/publish.sh DIR…                the runs in these directories, one after the other
#   bench/publish.sh -a DIR…             the same, below what BENCHMARKS.md holds already
set -eu
cd "$(dirname "$0")/.."
append=
if [ "${1:-}" = -a ]; then
	append=1
	shift
fi
[ $# -gt 0 ] || set -- "${OUT:-bench/out}"
for run in "$@"; do
	[ -f "$run/report.md" ] || { echo "no report in $run: run bench/run.sh first" >&2; exit 1; }
done
mkdir -p bench/pictures bench/results

# figures RUN NAME copies pictures and raw figures; NAME is empty for a run whose pictures keep their names.
figures() {
	for picture in "$1"/*.svg; do
		[ -e "$picture" ] && cp "$picture" "bench/pictures/$2$(basename "$picture")"
	done
	day=$(sed -n 's/^# Measured \([0-9-]*\).*/\1/p' "$1/report.md" | head -n 1)
	for raw in raw facts; do
		[ -f "$1/$raw.json" ] && cp "$1/$raw.json" "bench/results/$day-$(basename "$1")-$raw.json"
	done
	return 0
}

# section RUN NAME prints a report, one level deeper and with its pictures where they are now.
section() {
	sed -e 's/^#/##/' -e "s|](\([^/)]*\.svg\))|](bench/pictures/$2\1)|" "$1/report.md"
}

new=$(mktemp)
trap 'rm -f "$new"' EXIT
if [ -n "$append" ]; then
	cat BENCHMARKS.md >"$new"
else
	cat bench/preface.md >"$new"
fi
for run in "$@"; do
	name=
	if [ -n "$append" ] || [ $# -gt 1 ]; then # another run may have pictures of the same names
		name=$(basename "$run")-
	fi
	figures "$run" "$name"
	{
		[ "$run" = "$1" ] && [ -z "$append" ] || echo
		section "$run" "$name"
	} >>"$new"
done
cat "$new" >BENCHMARKS.md
echo "wrote BENCHMARKS.md"
