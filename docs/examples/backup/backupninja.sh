# shellcheck shell=bash disable=SC2283 # `when` is a function of backupninja's
# /etc/backup.d/20-github-connect.sh, 0600 and root's: before those that carry /var/backups away.
when = everyday at 01:00

# backupninja looks at no exit code: it counts lines that begin with "Fatal: ", and ghconnect can write none where it is not even found.
umask 077
if ! ghconnect snapshot export --output /var/backups/github-connect.tar; then
  # What is left of yesterday must not pass for today's.
  rm -f /var/backups/github-connect.tar
  echo "Fatal: the GitHub Connect credentials were not exported"
fi
