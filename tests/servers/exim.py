"""A real Exim for a test, as a mail server that sends everything through a smart host: its own configuration, spool and log.

Debian's package excludes Postfix, so tests/setup/debian.sh unpacks it. Exim with a configuration of the caller's choice keeps no privileges
(its manual, option -C): it runs here as its own unprivileged user, from a copy without the set-uid bit."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.daemon import LOG_SECONDS, as_root, new_home, remove_home, running, until_line, until_port_answers
from tests.servers.ports import free_port

HOME = Path(os.environ.get("SLUIS_EXIM_HOME", "/opt/sluis-exim"))
USER = "Debian-exim"
CONFIGURATION = """\
primary_hostname = {hostname}
exim_path = {home}/exim4
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
log_selector = +smtp_confirmation +received_recipients +tls_peerdn
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
deliver_drop_privilege = true
never_users =
keep_environment =
host_lookup =
message_size_limit = 100M
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
tls_advertise_hosts =
# A client of one machine may open many connections at once in a test.
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 5
acl_smtp_rcpt = anybody
begin acl
anybody:
  accept
begin routers
smart_host:
  driver = manualroute
  transport = to_relay
  route_list = * 127.0.0.1
  self = send
begin transports
to_relay:
  driver = smtp
  port = {relay_port}
  allow_localhost = true
  dnssec_request_domains =
  hosts_try_dane =
{tls}
begin retry
# Tests wait for the second attempt: a second, where mail in the world waits for minutes.
* * F,1h,1s
"""
TLS = {
    "none": "  hosts_avoid_tls = *",
    "may": "  tls_verify_certificates =",
    "encrypt": "  hosts_require_tls = *\n  tls_verify_certificates =",
}


@dataclass(frozen=True)
class Exim:
    """A running instance. `log` is its main log."""

    port: int
    log: Path

    async def wait_for_log(self, pattern: str, *, count: int = 1, timeout: float = LOG_SECONDS) -> list[str]:
        """Waits for lines of the log that match the regular expression: ` => ` is a delivery, ` == ` a deferral, ` ** ` a failure."""
        return await until_line(self.log, pattern, timeout, count)


@asynccontextmanager
async def running_exim(
    folder: Path, relay_port: int, *, relay_tls: str = "none", hostname: str = "exim.organisation.example"
) -> AsyncIterator[Exim]:
    """Starts Exim, and removes all of it at the end but the log, which stays as `folder/HOSTNAME.log`. It accepts any mail from
    loopback and sends it through 127.0.0.1:`relay_port`: `relay_tls` is none, may or encrypt, without a look at the certificate's name.
    A deferred message is tried again after a second. Raises ServerFailed."""
    home = new_home("exim")
    log = home / "log" / "mainlog"
    try:
        port = free_port()
        shutil.copyfile(HOME / "usr" / "sbin" / "exim4", home / "exim4")
        (home / "exim4").chmod(0o755)
        configuration = home / "exim.conf"
        configuration.write_text(CONFIGURATION.format(home=home, hostname=hostname, port=port, relay_port=relay_port, tls=TLS[relay_tls]))
        for name in ("spool", "log"):
            (home / name).mkdir()
        log.touch()
        log.chmod(0o644)
        subprocess.run(as_root(["chown", "-R", f"{USER}:{USER}", home / "spool", home / "log"]), check=True)
        # No capabilities, so that a test run by root shows the same as one by anybody else.
        drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        command = as_root([*drop, home / "exim4", "-C", configuration, "-bdf", "-q1s", "-oP", home / "spool" / "exim.pid"])
        output = home / "output"
        async with running(command, output) as process:
            await until_port_answers(port, process, output)
            yield Exim(port, log)
    finally:
        if log.exists():
            shutil.copyfile(log, folder / f"{hostname}.log")
        remove_home(home)
