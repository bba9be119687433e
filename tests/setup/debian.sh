#!/bin/sh
# Installs what the tests need from Debian, without leaving services that the installation started.
# Safe to run again: it does nothing when everything is there. Needs root, or sudo without a password.
set -eu
packages="python3-venv libmagic1 clamav-daemon postfix opendkim-tools postgresql swaks strace faketime openssl bind9 sudo systemd util-linux"
# What the short bench sets beside Sluis, and the compiler of its load generator.
packages="$packages rspamd redis-server clamav-milter opendkim gcc libc6-dev"
# Ceph with its S3 gateway: bodies in an object store.
packages="$packages ceph-mon ceph-osd radosgw"
# The shared libraries of Exim, which is unpacked below and so brings none along.
packages="$packages libdb5.3 libgnutls-dane0 libidn12 libnsl2"
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
exim_home=${SLUIS_EXIM_HOME:-/opt/sluis-exim}
# The user that Debian's Exim was compiled for: it does not start on a machine that has none of that name.
exim_user=Debian-exim
[ -n "$missing" ] || [ ! -x "$exim_home/usr/sbin/exim4" ] || ! getent passwd "$exim_user" >/dev/null || exit 0
echo "installing:$missing exim4 (unpacked in $exim_home)"
root apt-get -qq update
if [ -n "$missing" ]; then
    # policy-rc.d 101 (Debian's invoke-rc.d): nothing is started by an installation. An existing file is put back.
    saved=""
    if [ -e /usr/sbin/policy-rc.d ]; then saved=$(mktemp); root cp -p /usr/sbin/policy-rc.d "$saved"; fi
    printf '#!/bin/sh\nexit 101\n' | root tee /usr/sbin/policy-rc.d >/dev/null
    root chmod 755 /usr/sbin/policy-rc.d
    undo() { if [ -n "$saved" ]; then root cp -p "$saved" /usr/sbin/policy-rc.d; rm -f "$saved"; else root rm -f /usr/sbin/policy-rc.d; fi; }
    trap undo EXIT
    # shellcheck disable=SC2086 # a list of names
    root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing
fi
# Exim and Postfix exclude each other as packages, so Exim is unpacked beside the system and never installed.
if [ ! -x "$exim_home/usr/sbin/exim4" ]; then
    folder=$(mktemp -d)
    (cd "$folder" && apt-get -qq download exim4-daemon-light)
    root mkdir -p "$exim_home"
    root dpkg-deb -x "$folder"/exim4-daemon-light_*.deb "$exim_home"
    rm -rf "$folder"
fi
getent passwd "$exim_user" >/dev/null || root useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$exim_user"
