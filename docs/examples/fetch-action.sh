#!/bin/sh
# Fetches an action at a tag, a branch or a commit: fetch-action OWNER/NAME REF FOLDER
# The token is that of the feature `actions-from-github`; git asks for it, and keeps none.
set -eu
repository=$1 ref=$2 folder=$3
github=${GITHUB_SERVER_URL:-https://github.com}
helper=${GHCONNECT_GIT_HELPER:-/usr/lib/ghconnectd/git-credential-ghconnect}

rm -rf "$folder.new"
git init -q "$folder.new"
git -C "$folder.new" \
  -c "credential.helper=" \
  -c "credential.helper=$helper --profile actions-from-github" \
  fetch -q --depth=1 "$github/$repository.git" "$ref"
git -C "$folder.new" checkout -q --detach FETCH_HEAD
rm -rf "$folder"
mv "$folder.new" "$folder"
