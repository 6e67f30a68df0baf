#!/bin/sh
# Backs the GitHub Connect credentials up with restic; run by root. RESTIC_REPOSITORY and RESTIC_PASSWORD_FILE say where to.
# By way of a file: restic before 0.17 has no --stdin-from-command, and its --stdin keeps what a failing program wrote as a good snapshot.
set -eu
umask 077
folder=${RUNTIME_DIRECTORY:-/run/github-connect-backup}
mkdir -p "$folder"
trap 'rm -f "$folder/github-connect.tar"' EXIT
ghconnect snapshot export --output "$folder/github-connect.tar"
restic backup --quiet --tag github-connect "$folder/github-connect.tar"
