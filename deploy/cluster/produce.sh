#!/bin/sh
# Writes one message: produce.sh TOPIC MESSAGE. It asks one node after the other until one answers; a follower
# redirects to the leader, and --location-trusted sends the token there too. The idempotency key makes it safe to ask again when
# it is not known what became of the write.
set -eu
cd "$(dirname "$0")"
[ $# -eq 2 ] || { echo "usage: $0 TOPIC MESSAGE" >&2; exit 2; }
. ./cluster.env
token=${RF_BEARER_TOKENS%%[:@]*}
key=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
for node in 127.0.0.1:7001 127.0.0.1:8001 127.0.0.1:9001; do
	if printf '%s' "$2" | curl -sS --fail-with-body --location-trusted --max-time 10 -H "Authorization: Bearer $token" \
		--data-binary @- "http://$node/broker/topics/$1/produce?partition=0&idempotency_key=$key"; then
		echo
		exit 0
	fi
	echo >&2
done
echo "no node took the message" >&2
exit 1
