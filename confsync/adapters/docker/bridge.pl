# The inner half of confsync's bridge into a container: it serves requests that come framed on
# standard input, many at a time, and answers on standard output. bridge.py is the outer half.
#
# It needs perl-base alone, which Debian's images have. It ends when its standard input does, or
# after IDLE seconds without a request; then the commands that it started end too.
#
#   a frame:   length of the body (N), number of the request (N), type (a), body
#   requests:  X exchange  half-close (C), path (N/a), what to send (the rest)
#              O open      path: a connection that lasts until C, or until the other side ends it
#              S send      of that number: what to send
#              R run       milliseconds (N), folder (N/a), program and arguments (N, each N/a),
#                          1 if an environment follows (C), NAME=VALUE (N, each N/a)
#              C cancel    closes what is open
#   answers:   H hello     once, of request 0: the protocol's version
#              D data      a piece of the reply or of the output
#              E end       how (C), a number (N)
use strict;
use warnings;
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use POSIX ();
use Socket qw(PF_UNIX SOCK_STREAM pack_sockaddr_un);

use constant {
    CLOSED => 0, UNSENT => 1, CUT => 2, EXITED => 3, SIGNALLED => 4, LATE => 5, UNSTARTED => 6,
    PIECE => 65536,
    WAITING => 1 << 20,    # bytes not yet taken by confsync, above which nothing more is read
    KEPT => 1 << 20,       # bytes of a command's output that are passed on
    IDLE => 600,
};

my $inherited_path = $ENV{PATH} // '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
my ($taken, $given) = ('', '');    # read from confsync, to be written to it
my %jobs;                          # number => { socket, unsent, sent, open } or { pid, pipe, until }
my %ended;                         # pid => wait status
my $asked = time;

$0 = 'confsync-bridge';
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { };    # so that it ends the wait below
$SIG{$_} = sub { finish() } for qw(HUP INT TERM);
unblock($_) for \*STDIN, \*STDOUT;
frame(0, 'H', '1');

while (1) {
    my ($readable, $writable) = ('', '');
    my $children = grep { $_->{pid} } values %jobs;
    vec($readable, fileno(STDIN), 1) = 1;
    vec($writable, fileno(STDOUT), 1) = 1 if length $given;
    for my $job (values %jobs) {
        if ($job->{socket} && length $job->{unsent}) {
            vec($writable, fileno($job->{socket}), 1) = 1;
            next if !$job->{open};
        }
        if (length $given < WAITING) {
            my $from = $job->{socket} // $job->{pipe};
            vec($readable, fileno($from), 1) = 1 if $from;
        }
    }
    # The signal of a child's end may come just before the wait, so that is looked for now and then:
    # its pipe may be closed before it ends, or held by a child of its own after it.
    my $half_ended = grep { $_->{pid} && !$_->{pipe} } values %jobs;
    my $pause = $half_ended ? 0.002 : $children ? 0.02 : 30;
    if (select($readable, $writable, undef, $pause) < 0) {
        finish() if $! != EINTR;
        ($readable, $writable) = ('', '');    # a child has ended
    }
    take_requests() if vec($readable, fileno(STDIN), 1);
    while ((my $pid = waitpid(-1, POSIX::WNOHANG())) > 0) { $ended{$pid} = $? }
    for my $number (keys %jobs) {
        my $job = $jobs{$number};
        if ($job->{socket}) {
            my $place = fileno $job->{socket};
            receive($number, $job) if vec($readable, $place, 1);
            send_more($number, $job) if $jobs{$number} && vec($writable, $place, 1);
        } else {
            listen_to($number, $job, $readable);
        }
    }
    %ended = ();
    flush_answers();
    finish() if !%jobs && !length $given && time - $asked > IDLE;
}

sub unblock {
    my ($handle) = @_;
    fcntl($handle, F_SETFL, fcntl($handle, F_GETFL, 0) | O_NONBLOCK);
}

sub finish {
    kill 'KILL', -$_->{pid} for grep { $_->{pid} } values %jobs;
    exit 0;
}

sub later { return $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR }

sub frame {
    my ($number, $type, $body) = @_;
    $given .= pack('N N a', length $body, $number, $type) . $body;
}

sub end_of {
    my ($number, $how, $what) = @_;
    delete $jobs{$number};
    frame($number, 'E', pack('C N', $how, $what));
}

sub flush_answers {
    while (length $given) {
        my $written = syswrite(STDOUT, $given, PIECE);
        if (!defined $written) {
            return if later();
            finish();
        }
        substr($given, 0, $written, '');
    }
}

sub take_requests {
    my $read = sysread(STDIN, $taken, PIECE, length $taken);
    if (!$read) {
        return if !defined $read && later();
        finish();
    }
    $asked = time;
    while (length $taken >= 9) {
        my ($length, $number, $type) = unpack('N N a', $taken);
        last if length $taken < 9 + $length;
        my $body = substr($taken, 9, $length);
        substr($taken, 0, 9 + $length, '');
        if    ($type eq 'X') { start_exchange($number, $body) }
        elsif ($type eq 'O') { open_socket($number, $body) }
        elsif ($type eq 'S') { send_in($number, $body) }
        elsif ($type eq 'R') { start_command($number, $body) }
        elsif ($type eq 'C') { cancel($number) }
    }
}

sub cancel {
    my ($number) = @_;
    my $job = delete $jobs{$number} or return;
    kill 'KILL', -$job->{pid} if $job->{pid};
}

# Connections to a unix socket

sub connected {
    my ($number, $path, %job) = @_;
    my $socket;
    if (!socket($socket, PF_UNIX, SOCK_STREAM, 0)) { end_of($number, UNSENT, $! + 0); return }
    unblock($socket);
    if (!connect($socket, pack_sockaddr_un($path))) { end_of($number, UNSENT, $! + 0); return }
    return $jobs{$number} = { socket => $socket, unsent => '', sent => 0, %job };
}

sub start_exchange {
    my ($number, $body) = @_;
    my ($half, $path, $unsent) = unpack('C N/a a*', $body);
    my $job = connected($number, $path, unsent => $unsent, half => $half) or return;
    send_more($number, $job);
}

sub open_socket {
    my ($number, $path) = @_;
    connected($number, $path, open => 1);
}

sub send_in {
    my ($number, $body) = @_;
    my $job = $jobs{$number} or return;    # it has ended, which is told
    $job->{unsent} .= $body;
    send_more($number, $job);
}

sub send_more {
    my ($number, $job) = @_;
    while (length $job->{unsent}) {
        my $written = syswrite($job->{socket}, $job->{unsent}, PIECE);
        if (!defined $written) {
            return if later();
            return end_of($number, $job->{sent} ? CUT : UNSENT, $! + 0);
        }
        $job->{sent} += $written;
        substr($job->{unsent}, 0, $written, '');
    }
    shutdown($job->{socket}, 1) if $job->{half};
}

sub receive {
    my ($number, $job) = @_;
    my $read = sysread($job->{socket}, my $piece, PIECE);
    if    ($read)          { frame($number, 'D', $piece) }
    elsif (defined $read)  { end_of($number, CLOSED, 0) }
    elsif (!later())       { end_of($number, CUT, $! + 0) }
}

# Commands

sub start_command {
    my ($number, $body) = @_;
    my ($milliseconds, $folder, $count) = unpack('N N/a N', $body);
    my @words = unpack("x4 N/a x4 (N/a)$count C", $body);
    shift @words;
    my $exactly = pop @words;
    my @variables;
    if ($exactly) {
        my $skip = 4 + 4 + length($folder) + 4 + 1;
        $skip += 4 + length for @words;
        my $pairs = unpack("x$skip N", $body);
        @variables = unpack("x$skip x4 (N/a)$pairs", $body);
    }
    my ($pipe, $theirs);
    pipe($pipe, $theirs) or return end_of($number, UNSTARTED, $! + 0);
    my $pid = fork;
    return end_of($number, UNSTARTED, $! + 0) if !defined $pid;
    if (!$pid) {
        become($folder, \@words, $exactly ? \@variables : undef, $theirs);
    }
    setpgrp($pid, $pid);    # the child does it too: whoever is first
    close $theirs;
    unblock($pipe);
    my $until = now() + $milliseconds / 1000;
    $jobs{$number} = { pid => $pid, pipe => $pipe, until => $until, passed => 0 };
}

# The child: never returns.
sub become {
    my ($folder, $words, $variables, $output) = @_;
    setpgrp(0, 0);
    $SIG{$_} = 'DEFAULT' for qw(CHLD PIPE HUP INT TERM);
    open(STDIN, '<', '/dev/null');
    open(STDOUT, '>&', $output);
    open(STDERR, '>&', $output);
    if (length $folder && !chdir $folder) {
        complain("cannot enter $folder: $!\n", 126);
    }
    if ($variables) {
        %ENV = ();
        for (@$variables) {
            my ($name, $value) = split /=/, $_, 2;
            $ENV{$name} = $value;
        }
    }
    my $program = $words->[0];
    if ($program !~ m{/}) {
        for my $place (split /:/, $ENV{PATH} // $inherited_path) {
            if (-f "$place/$program" && -x _) { $program = "$place/$program"; last }
        }
    }
    no warnings 'exec';
    exec { $program } @$words;
    complain("cannot run $words->[0]: $!\n", 127);
}

sub complain {
    my ($words, $code) = @_;
    syswrite(STDERR, $words);
    POSIX::_exit($code);
}

sub now {
    my ($seconds) = POSIX::times();    # ticks of a clock that nobody sets
    return $seconds / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub listen_to {
    my ($number, $job, $readable) = @_;
    my $status = $ended{$job->{pid}};
    if ($job->{pipe} && (defined $status || vec($readable, fileno($job->{pipe}), 1))) {
        pass_on($number, $job, defined $status);
    }
    if (defined $status) {
        my $signal = $status & 127;
        return end_of($number, $signal ? (SIGNALLED, $signal) : (EXITED, $status >> 8));
    }
    if (now() > $job->{until}) {
        kill 'KILL', -$job->{pid};
        end_of($number, LATE, 0);
    }
}

# Its output; all that is there when it has ended, though a child of its own may hold the pipe.
sub pass_on {
    my ($number, $job, $all) = @_;
    while (1) {
        my $read = sysread($job->{pipe}, my $piece, PIECE);
        if (!$read) {
            delete $job->{pipe} if defined $read;
            return;
        }
        my $room = KEPT - $job->{passed};
        $piece = substr($piece, 0, $room) if length $piece > $room;
        $job->{passed} += length $piece;
        frame($number, 'D', $piece) if length $piece;
        return if !$all;
    }
}
