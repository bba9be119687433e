"""A real Postfix for a test: its own configuration, queue and log, a port of loopback, nothing of the system's mail touched."""

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.servers.daemon import (
    LOG_SECONDS,
    POLL_SECONDS,
    ServerFailed,
    as_root,
    new_home,
    remove_home,
    running,
    until_line,
    until_port_answers,
)
from tests.servers.ports import free_port

DAEMONS = Path("/usr/lib/postfix/sbin")
# master(5): service, type, private, unprivileged, chroot, wake-up, process limit, command. No chroot: it would need files of the system.
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
# Folder of the queue: who may enter (postfix-files of the Debian package).
QUEUE = {
    **dict.fromkeys(("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"), 0o700),
    "maildrop": 0o730,
    "public": 0o710,
    "pid": 0o755,
}


class Mail(NamedTuple):
    """One delivery into a Maildir. `raw` has CRLF line ends again, and begins with what Postfix put in front: Return-Path,
    X-Original-To, Delivered-To and its Received; `sender` is the reverse-path, empty for a notice."""

    recipient: str
    sender: str
    raw: bytes


@dataclass(frozen=True)
class Postfix:
    """A running instance. `log` is its mail log; `mail` is the folder with the Maildirs."""

    port: int
    log: Path
    mail: Path

    async def wait_for_log(self, pattern: str, *, count: int = 1, timeout: float = LOG_SECONDS) -> list[str]:
        """Waits for lines of the log that match the regular expression, such as `status=(sent|bounced)`."""
        return await until_line(self.log, pattern, timeout, count)

    def received(self) -> list[Mail]:
        """What was delivered here so far, oldest first."""
        found = sorted(self.mail.glob("*/new/*"), key=lambda path: path.stat().st_mtime_ns)
        return [_mail(path.read_bytes()) for path in found]

    async def wait_for_mail(self, count: int, timeout: float = LOG_SECONDS) -> list[Mail]:
        """Waits until at least `count` messages lie in the Maildirs. Raises ServerFailed with the end of the log."""
        try:
            async with asyncio.timeout(timeout):
                while len(mails := self.received()) < count:
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ServerFailed(f"{len(mails)} of {count} messages came; log:\n{self.log.read_text()[-4000:]}") from None
        return mails


@asynccontextmanager
async def running_postfix(
    folder: Path,
    *,
    relay_port: int | None = None,
    relay_tls: str = "none",
    domains: Sequence[str] = (),
    mailboxes: Sequence[str] = (),
    hostname: str = "mail.organisation.example",
    certificate: tuple[Path, Path] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Postfix]:
    """Starts Postfix, and removes all of it at the end but the log, which stays as `folder/HOSTNAME.log`.

    As a client: it accepts any mail from loopback and hands all that is not for `domains` to 127.0.0.1:`relay_port`, with
    `relay_tls` as smtp_tls_security_level; ENVID, RET, NOTIFY and ORCPT pass through. A deferred message is tried again after a second.
    As a next hop: mail for `domains` is delivered into Maildirs, one for each of `mailboxes` (another recipient is refused with 550);
    without `mailboxes` every recipient is known. With `certificate` (chain and key) it offers STARTTLS. Both together work: the
    bounces of a client come home. `settings` are further main.cf parameters, and win over those made here. Raises ServerFailed."""
    home = new_home("postfix")
    port = free_port()
    values = _main(home, relay_port, relay_tls, domains, mailboxes, hostname, certificate) | dict(settings or {})
    main = "".join(f"{name} = {value}\n" for name, value in values.items())
    async with running_instance(folder / f"{hostname}.log", home, port, main, MASTER.format(port=port)) as postfix:
        yield postfix


@asynccontextmanager
async def running_instance(log: Path, home: Path, port: int, main: str, master: str) -> AsyncIterator[Postfix]:
    """Postfix with any main.cf and master.cf, in a folder of `new_home`; `port` is one that it will answer on. Its queue, data and log
    are put there by lines behind `main`, which must not name those. The folder is removed at the end, the log copied to `log`. Raises
    ServerFailed."""
    try:
        log.write_bytes(b"")
        _lay_out(home, main + "".join(f"{name} = {value}\n" for name, value in _places(home).items()), master)
        async with running(as_root([DAEMONS / "master", "-c", home / "etc", "-d"]), home / "output") as process:
            await until_port_answers(port, process, home / "log")
            yield Postfix(port, home / "log", home / "mail")
    finally:
        if (home / "log").exists():
            shutil.copyfile(home / "log", log)
        remove_home(home)


def _places(home: Path) -> dict[str, str]:
    return {
        "inet_interfaces": "127.0.0.1",
        "queue_directory": str(home / "queue"),
        "data_directory": str(home / "data"),
        "maillog_file": str(home / "log"),
        "maillog_file_prefixes": str(home),
    }


def _main(
    home: Path,
    relay_port: int | None,
    relay_tls: str,
    domains: Sequence[str],
    mailboxes: Sequence[str],
    hostname: str,
    certificate: tuple[Path, Path] | None,
) -> dict[str, str]:
    known = f"texthash:{home / 'etc' / 'mailboxes'}" if mailboxes else "static:all/"
    (home / "etc").mkdir(exist_ok=True)
    (home / "etc" / "mailboxes").write_text("".join(f"{address} {address}/\n" for address in mailboxes))
    values = {
        "compatibility_level": "3.7",
        "myhostname": hostname,
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "local_transport": "error:5.1.1 no local mail here",
        "local_recipient_maps": "",
        "alias_maps": "",
        "alias_database": "",
        "virtual_mailbox_domains": " ".join(domains),
        "virtual_mailbox_maps": known,
        "virtual_mailbox_base": str(home / "mail"),
        "virtual_minimum_uid": "1",
        "virtual_uid_maps": f"static:{_reader().pw_uid}",
        "virtual_gid_maps": f"static:{_reader().pw_gid}",
        "relayhost": f"[127.0.0.1]:{relay_port}" if relay_port else "",
        "default_transport": "smtp" if relay_port else "error:5.4.4 no way out",
        "smtpd_relay_restrictions": "permit_mynetworks reject_unauth_destination",
        "smtpd_peername_lookup": "no",
        "local_header_rewrite_clients": "",  # a message stays as it came
        "smtp_dns_support_level": "disabled",
        "smtp_tls_security_level": relay_tls,
        "message_size_limit": "104857600",
        "virtual_mailbox_limit": "0",
        # Tests wait for the second attempt: a second, where mail in the world waits for minutes.
        "queue_run_delay": "1s",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "transport_retry_time": "1s",
        "smtpd_client_connection_rate_limit": "0",
        "smtpd_error_sleep_time": "0",
        "biff": "no",
    }
    if certificate:
        pair = home / "etc" / "server.pem"
        pair.write_bytes(certificate[1].read_bytes() + certificate[0].read_bytes())
        pair.chmod(0o600)
        values |= {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": str(pair)}
    return values


def _reader() -> pwd.struct_passwd:
    """Whose the Maildirs are: ours, so that the test can read them; virtual(8) never writes as root."""
    return pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("nobody")


def _lay_out(home: Path, main: str, master: str) -> None:
    (home / "etc").mkdir(exist_ok=True)
    (home / "etc" / "main.cf").write_text(main)
    (home / "etc" / "master.cf").write_text(master)
    (home / "log").touch()
    for name in ("queue", "data", "mail"):
        (home / name).mkdir()
    for name, mode in QUEUE.items():
        (home / "queue" / name).mkdir()
        (home / "queue" / name).chmod(mode)
    for command in _owners(home):
        subprocess.run(as_root(command), check=True)


def _owners(home: Path) -> Iterator[list[str | Path]]:
    queue = home / "queue"
    yield ["chown", "postfix", home / "data", *(queue / name for name in QUEUE if name != "pid")]
    yield ["chgrp", "postdrop", queue / "maildrop", queue / "public"]
    yield ["chown", f"{_reader().pw_uid}:{_reader().pw_gid}", home / "mail"]
    yield ["chown", "root", queue, queue / "pid", home / "etc" / "main.cf", home / "etc" / "master.cf"]


def _mail(data: bytes) -> Mail:
    raw = data.replace(b"\n", b"\r\n")
    front = dict(line.split(b": ", 1) for line in raw.split(b"\r\n")[:3])
    return Mail(front[b"Delivered-To"].decode(), front[b"Return-Path"].strip(b"<>").decode(), raw)
