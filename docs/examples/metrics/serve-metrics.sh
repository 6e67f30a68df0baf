#!/bin/sh
# Answers one HTTP request on its standard input with the daemon's metrics, whatever was asked: started by systemd for each connection.
set -eu
socket=${1:-/run/ghconnectd/admin.sock}

# The request is read to its end; nothing in it matters.
while IFS= read -r line && [ "${line%?}" != "" ]; do :; done

if metrics=$(curl -q -sS --fail --noproxy '*' --max-time 5 --unix-socket "$socket" http://localhost/metrics); then
  status='200 OK'
else
  status='503 Service Unavailable' metrics=''
fi
printf 'HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n\r\n%s\n' "$status" "$metrics"
