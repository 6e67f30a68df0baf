#!/bin/sh
# Writes the daemon's metrics for node_exporter's textfile collector, whole or not at all: run by a timer each minute.
set -eu
file=${1:-/var/lib/prometheus/node-exporter/ghconnectd.prom}
socket=${2:-/run/ghconnectd/admin.sock}

beside=$(mktemp "$(dirname "$file")/.ghconnectd.XXXXXX")
trap 'rm -f "$beside"' EXIT
# Where the daemon does not answer the old file goes: figures that stand still look well.
curl -q -sS --fail --noproxy '*' --max-time 10 --unix-socket "$socket" -o "$beside" http://localhost/metrics || { rm -f "$file"; exit 69; }
# Of the exporter's own process there is one already.
sed -i '/process_/d' "$beside"
chmod 644 "$beside"
mv "$beside" "$file"
