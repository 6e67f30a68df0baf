# Asks once from each of many short-lived processes: a new pid, hence a new identity, for every request.
# usage: perl hostile-processes.pl SOCKET SECONDS    Prints how often each status came, as JSON, and ends by itself.
use strict;
use warnings;
use IO::Socket::UNIX;

my ($path, $seconds) = @ARGV;
my $body = '{"repositories":["web"],"permissions":{"contents":"read"}}';
my $request = "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
  . 'content-length: ' . length($body) . "\r\n\r\n$body";
my $end = time + $seconds;
my %seen;
my $running = 0;

sub reap {
  return if wait < 0;
  $running--;
  # An exit code is a byte: 200 is itself, and of 4xx and 5xx 256 is taken.
  my $code = $? >> 8;
  my $status = $code == 0 ? 'none' : $code == 200 ? 200 : $code + 256;
  $seen{$status}++;
}

while (time < $end) {
  reap() if $running >= 16;
  my $pid = fork;
  last unless defined $pid;
  if ($pid) { $running++; next }
  alarm 10;
  my $socket = IO::Socket::UNIX->new(Peer => $path) or exit 0;
  print $socket $request;
  $socket->flush;
  my $line = <$socket> // '';
  exit($line =~ m{^HTTP/1\.1 (\d+)} ? $1 % 256 : 0);
}
reap() while $running > 0;
print '{', join(',', map { qq("$_":$seen{$_}) } sort keys %seen), "}\n";
