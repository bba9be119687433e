#!/bin/bash
# Fills the scratch folder $BENCH_HOME (tools, keys, messages, a ClamAV database with EICAR only) and installs the peers from Debian.
# Needs root. $PYTHON has aiosmtpd, dkimpy and clamd. All traffic stays on 127.0.0.1.
set -eu
: "${BENCH_HOME:?set BENCH_HOME to an empty scratch folder outside the repository}"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$BENCH_HOME"/{bin,out,msgs,keys,clamav/db}; cp -r "$here"/. "$BENCH_HOME"/; cd "$BENCH_HOME"
missing=""
for program in postfix clamd clamav-milter opendkim rspamd redis-server gcc openssl; do command -v $program >/dev/null || missing="$missing $program"; done
if [ -n "$missing" ]; then
[ "${BENCH_INSTALL:-yes}" = yes ] || { echo "not installed:$missing" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
printf 'exit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d # nothing starts by itself
apt-get update -qq
apt-get install -y -qq --no-install-recommends postfix clamav-daemon clamav-milter opendkim opendkim-tools rspamd redis-server gcc libc6-dev openssl >/dev/null
rm -f /usr/sbin/policy-rc.d; fi
gcc -O2 -w -o bin/sink src/sink.c; gcc -O2 -w -o bin/loadgen src/loadgen.c
[ -e keys/dkim.pem ] || openssl genrsa -traditional -out keys/dkim.pem 2048 2>/dev/null
openssl rsa -in keys/dkim.pem -pubout -outform DER 2>/dev/null | base64 -w0 > keys/dkim.pub.b64
eicar='X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'
printf 'Eicar-Test-Local:0:0:%s\n' "$(printf %s "$eicar" | od -An -tx1 | tr -d ' \n')" > clamav/db/local.ndb
cat > clamav/clamd.conf.in <<M
LocalSocket $BENCH_HOME/clamav/clamd.sock
LocalSocketMode 666
FixStaleSocket true
TCPAddr 127.0.0.1
User root
Foreground true
DatabaseDirectory $BENCH_HOME/clamav/db
OfficialDatabaseOnly false
LogFile $BENCH_HOME/clamav/clamd.log
PidFile $BENCH_HOME/clamav/clamd.pid
MaxThreads 12
StreamMaxLength 100M
MaxScanSize 100M
MaxFileSize 100M
AlertExceedsMax yes
LogClean yes
M
python3 mkmsgs.py >/dev/null
