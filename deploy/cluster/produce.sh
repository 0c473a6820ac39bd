#!/bin/sh
# Writes one message: produce.sh TOPIC MESSAGE. It asks one node after the other until one has taken it. A follower redirects
# to the leader, and --location-trusted sends the token there too. A write that got no answer, 503 or 504 may be in the log or not;
# because of the idempotency key it can be sent again all the same.
set -eu
cd "$(dirname "$0")"
[ $# -eq 2 ] || { echo "usage: $0 TOPIC MESSAGE" >&2; exit 2; }
. ./cluster.env
token=${RF_BEARER_TOKENS%%[:@]*}
key=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
answer=
for round in 1 2 3 4 5 6 7 8 9 10; do
	for node in 127.0.0.1:7001 127.0.0.1:8001 127.0.0.1:9001; do
		answer=$(printf '%s' "$2" | curl -s --location-trusted --max-time 10 -w ' %{http_code}' -H "Authorization: Bearer $token" \
			--data-binary @- "http://$node/broker/topics/$1/produce?partition=0&idempotency_key=$key") || true
		case ${answer##* } in
		2*) echo "${answer% *}"; exit 0 ;;
		000 | 503 | 504) ;; # down, without a leader, or not known
		*) echo "${answer% *}" >&2; exit 1 ;;
		esac
	done
	[ "$round" = 10 ] || sleep 1
done
echo "no node took the message; the last answer: $answer" >&2
exit 1
