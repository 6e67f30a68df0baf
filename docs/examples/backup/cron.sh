#!/bin/sh
# Keeps the GitHub Connect credentials of the last 14 days in a folder; run by root, as /etc/cron.daily/github-connect.
set -eu
umask 077
folder=${1:-/var/backups/github-connect}
mkdir -p "$folder"
ghconnect snapshot export --output "$folder/$(date -u +%Y%m%dT%H%M%SZ).tar"
# Only after a success, and never the last ones: a fortnight of failures must not empty the folder.
find "$folder" -name '*.tar' | sort -r | tail -n +15 | xargs -r rm --
