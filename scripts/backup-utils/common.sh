# shellcheck shell=sh
# Shared by the hooks, which source it: messages, exit codes, and where ghconnect is.

# backupninja counts lines that begin so, and people look for them.
warn() { printf 'Warning: %s\n' "$*" >&2; }
die() {
  code=$1
  shift
  printf 'Fatal: %s\n' "$*" >&2
  exit "$code"
}

# Whatever a program ended with, as one of the codes that a backup utility may see: to some of them 75 means "skip this one",
# and 255 is ssh's own failure.
exit_code() {
  case $1 in
    0 | 64 | 65 | 69 | 70 | 77 | 78) echo "$1" ;;
    75 | 126 | 127 | 255) echo 69 ;;
    *) echo 70 ;;
  esac
}

# GHES logs in as admin, who is no administrator of ours but may use sudo. Without sudo, ghconnect says what is not permitted.
as_root() {
  if [ "$(id -u)" != 0 ] && sudo -n true </dev/null >/dev/null 2>&1; then exec sudo -n -- "$@"; fi
}

find_ghconnect() {
  here=$(dirname "$(readlink -f "$0")")
  for candidate in "${GHCONNECT:-$(command -v ghconnect)}" "$here/ghconnect" "$here/../ghconnect"; do
    if [ -x "$candidate" ]; then
      echo "$candidate"
      return
    fi
    [ -z "${GHCONNECT:-}" ] || die 69 "GHCONNECT=$GHCONNECT is no program"
  done
  die 69 "ghconnect is neither on PATH nor in the folder of $here; name it with GHCONNECT"
}

# GHCONNECT_CONFIG and the like are ghconnect's own.
run_ghconnect() {
  program=$(find_ghconnect)
  "$program" "$@" || return "$(exit_code $?)"
}

# Left by an import that a later ghe-reset-gh-connect of the same restore is to honour.
# shellcheck disable=SC2034 # for those that source this
keep_marker=${GHCONNECT_KEEP_MARKER:-/run/ghconnectd/keep-after-restore}
