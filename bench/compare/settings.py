"""The settings that each side ran with, as it says itself, and what of Sluis was switched on: all of it."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.compare.interpreter import made
from bench.compare.sides import Side
from relay.model.errors import SluisError
from relay.policy.load import build, read_files
from relay.settings.load import load_settings

RSPAMD_SECTIONS = ("options", "antivirus", "dkim_signing", "redis")
RSPAMD_DIRECTORIES = {"CONFDIR": "etc-rspamd", "LOCAL_CONFDIR": "etc-rspamd", "DBDIR": "db", "RUNDIR": "run", "LOGDIR": "log"}


def effective(home: Path, sides: Sequence[Side]) -> list[str]:
    """Markdown about the sides that ran last in `home`, and clamd that they shared."""
    lines = ["### The settings of each side", ""]
    lines += [*_block("clamd, of all sides", (home / "clamav" / "clamd.conf").read_text())]
    for side in sides:
        lines += _OF[side.folder](home, side)
    return [line.replace(str(home), "…") for line in lines]


def _sluis(home: Path, side: Side) -> list[str]:
    config = home / "sluis" / "sluis.toml"
    try:
        settings = load_settings(config)
        policy = build(read_files(settings.policies), settings.policies)
    except SluisError as error:
        return [f"(the settings of the relay can't be read: {error})"]
    keys = [f"{key.algorithm} ({key.selector})" for signing in policy.signing for key in signing.keys]
    spool, store = settings.spool, settings.store
    lines = [
        "#### Sluis",
        "",
        f"- store: {store.url.partition(':')[0]}, each commit synced before the 250, at most {store.batch_messages} works in one, gathered "
        f"for {store.gather * 1e3:g} ms",
        f"- spool: every body AES-256-GCM under a key of its own, kept in memory up to {spool.memory_body} octets for its first delivery",
        f"- {_said(str(made(home)), '-VV').replace(chr(10), ' ')}",
        f"- inspection, in {settings.inspection.workers} workers without rights: {', '.join(policy.inspection.outbound)} must answer, for "
        "text too; the message is read by a strict and a lenient reader",
        f"- policy: the {len(policy.rules)} rules that ship ({', '.join(sorted(rule.name for rule in policy.rules))})",
        f"- signatures: {', '.join(keys)}",
        "- audit: an event with a salted commitment before the 250, and one for each outcome",
        "",
    ]
    return [*lines, *_block("sluis.toml; the rest is as it comes", config.read_text())]


def _postfix(home: Path, side: Side) -> list[str]:
    return _block(f"{side.title}: `postconf -n`", _said("postconf", "-c", str(home / side.folder / "etc"), "-n"))


def _rspamd(home: Path, side: Side) -> list[str]:
    folder = home / side.folder
    variables = [f"--var={name}={folder / place}" for name, place in RSPAMD_DIRECTORIES.items()]
    dump = ["rspamadm", *variables, "configdump", "-c", str(folder / "etc-rspamd" / "rspamd.conf")]
    said = "\n".join(_said(*dump, name) for name in RSPAMD_SECTIONS)
    worker = (folder / "etc-rspamd" / "override.d" / "worker-proxy.inc").read_text()
    lines = [*_postfix(home, side), *_block(f"{side.title}: `rspamadm configdump {' '.join(RSPAMD_SECTIONS)}`", said)]
    return [*lines, *_block(f"{side.title}: worker-proxy.inc", worker)]


def _milters(home: Path, side: Side) -> list[str]:
    files = [(name, (home / side.folder / name).read_text()) for name in ("clamav-milter.conf", "opendkim.conf")]
    return [*_postfix(home, side), *(line for name, text in files for line in _block(f"{side.title}: {name}", text))]


def _script(home: Path, side: Side) -> list[str]:
    return [
        "#### Naive script",
        "",
        "- clamd by INSTREAM, a DKIM signature (rsa-sha256), a row and a commit, a new connection for each message",
        "",
    ]


_OF: dict[str, Callable[[Path, Side], list[str]]] = {"": _sluis, "d": _rspamd, "b": _milters, "f": _script}


def _block(title: str, text: str) -> list[str]:
    lines = (line.rstrip() for line in text.splitlines())
    return [f"#### {title}", "", "```", *(line for line in lines if line), "```", ""]


def _said(*command: str) -> str:
    """What it prints, or why it can't be asked: the measured figures are worth printing all the same."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({command[0]} can't be asked: {error})"
    return done.stdout if done.returncode == 0 else f"({command[0]} says: {done.stderr.strip()[-500:]})"
