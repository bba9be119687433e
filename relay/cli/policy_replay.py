"""`sluis policy replay`: what the working copy would have done with recorded traffic."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_fields, print_json, print_table, problems_told, time_text
from relay.cli.filters import MOMENT
from relay.cli.policy_common import policies_option, working_copy
from relay.cli.progress import Bar
from relay.model.errors import ConfigurationError
from relay.model.text import printable
from relay.policy.load import build
from relay.policy.models import Policy
from relay.rehearsal.replay import Asked, Counts, replay
from relay.rehearsal.replay.page import page
from relay.settings.load import load_settings
from relay.settings.models import Settings, Store
from relay.store import policies as versions
from relay.store.engine import open_to_read
from relay.store.reader import Reader

MOST = 10_000  # messages listed for a difference


@click.command()
@click.option(
    "--since", "since_us", type=MOMENT, help="received from then on: 12h, 30d, 2026-11-24, 2026-11-24T09:30 (UTC); without it, all"
)
@click.option("--until", "until_us", type=MOMENT, help="received before then")
@click.option("--version", help="instead of the working copy: a policy that was in force, by its digest or the beginning of it")
@click.option("--phase", help="as if this phase had held all the time; without it, the phase of each decision")
@click.option("--rule", help="tell only of differences that are due to this rule")
@click.option(
    "--limit", type=click.IntRange(0, MOST), default=20, show_default=True, help="messages to list for each difference, the newest"
)
@click.option("--reason", help="show sender and recipient of what is listed; the reason is kept in the audit with your name")
@click.option("--html", "html", type=click.Path(path_type=Path, dir_okay=False), help="write a report there too, for a browser")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=lambda: min(os.cpu_count() or 1, 8),
    show_default="one for each core, up to 8",
    help="that decide side by side",
)
@policies_option
@config_option
@json_option
def command(
    since_us: int | None,
    until_us: int | None,
    version: str | None,
    phase: str | None,
    rule: str | None,
    limit: int,
    reason: str | None,
    html: Path | None,
    processes: int,
    policies: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """Decide recorded traffic again under the working copy of the policy, and show what would have come out otherwise: counts by old and
    new disposition, then rule by rule, then messages. Each message is decided as of its own moment, in its own phase. Nothing is changed,
    and the relay may run meanwhile; whoever calls must be able to read the store. What was refused before its content came has left no
    message in the record, and is not decided again."""
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise click.UsageError("--since must be before --until")
    settings, policy = _policy(config, policies, version)
    if rule is not None and not any(rule == one.name for one in policy.rules):
        click.echo(f"note: no rule of this policy is named '{printable(rule)}'", err=True)
    if reason is not None:
        call_operation(settings, "policy.replaying", {"reason": reason, "policy": policy.digest})
    asked = Asked(since_us, until_us, phase, limit, reason is not None)
    with problems_told():
        counts = _counted(settings.store, policy, asked, processes)
    found = _told(counts, policy, asked, rule)
    if html is not None:
        _write(html, page(found))
    if as_json:
        print_json(found)
    else:
        _print(found, html)


def _policy(config: Path, folder: Path | None, version: str | None) -> tuple[Settings, Policy]:
    """The working copy, or a version of the past. The store is that of the settings, so that they must be there."""
    with problems_told():
        settings = load_settings(config)
    if version is None:
        return settings, working_copy(config, folder)[2]
    if folder is not None:
        raise click.UsageError("give either --policies or --version")
    with problems_told(), _reader(settings.store) as reader:
        digests = reader.read_now(partial(versions.digests_from, start=version.lower()))
        if len(digests) != 1:
            what = "begins the digests of several policies" if digests else "begins the digest of no policy"
            raise ConfigurationError([f"'{printable(version)}' {what} that the store keeps"])
        files = reader.read_now(partial(versions.files_of, digest=digests[0]))
        return settings, build(files or {})


@contextlib.contextmanager
def _reader(store: Store) -> Iterator[Reader]:
    engine = open_to_read(store)
    reader = Reader(engine, 1)
    try:
        yield reader
    finally:
        reader.close()
        engine.dispose()


def _counted(store: Store, policy: Policy, asked: Asked, processes: int) -> Counts:
    bar = Bar()
    try:
        return replay(store, policy, asked, processes, bar)
    finally:
        bar.close()


def _told(counts: Counts, policy: Policy, asked: Asked, rule: str | None) -> dict[str, Any]:
    return {
        "policy": policy.digest,
        "since": time_text(asked.since_us) if asked.since_us is not None else None,
        "until": time_text(asked.until_us) if asked.until_us is not None else None,
        "phase": asked.phase,
        "rule": rule,
        **counts.summary(rule=rule),
    }


def _write(path: Path, text: str) -> None:
    """For nobody else to read: it may name who wrote to whom. A file that was there, with whatever mode, is replaced and not filled."""
    try:
        file, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
        try:
            with os.fdopen(file, "w", encoding="utf-8") as report:
                report.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


def _print(found: dict[str, Any], html: Path | None) -> None:
    print_fields(
        [
            ("policy", found["policy"][:16]),
            ("received", f"{'from ' + found['since'] if found['since'] else 'from the beginning'}, until {found['until'] or 'now'}"),
            *([("phase", f"{found['phase']}, as if it had held all the time")] if found["phase"] else []),
            ("decided again", f"{found['recipients']} recipients of {found['messages']} messages"),
            ("otherwise", f"{found['differ']} recipients"),
            ("not known", f"{found['not_known']} recipients" + _erased(found)),
        ]
    )
    if not found["recipients"]:
        return
    click.echo()
    print_table(
        ["WAS", "WOULD BE", "RECIPIENTS"],
        [[flow["was"], flow["now"] if flow["now"] != flow["was"] else "the same", str(flow["recipients"])] for flow in found["flows"]],
    )
    _tables(found)
    _messages(found)
    if html is not None:
        click.echo(f"\nthe report is in {html}")


def _erased(found: dict[str, Any]) -> str:
    number = found["erased_messages"]
    return f"; {number} messages of that time are erased" if number else ""


def _tables(found: dict[str, Any]) -> None:
    if found["changes"]:
        click.echo()
        rows = [[one["rule"], one["how"], one["was"], one["now"], str(one["recipients"])] for one in found["changes"]]
        print_table(["RULE", "HOW", "WAS", "WOULD BE", "RECIPIENTS"], rows)
    other = [one for one in found["rules"] if one["matched"] != one["matches"] and found["rule"] in (None, one["rule"])]
    if other:
        click.echo()
        print_table(["RULE", "MATCHED THEN", "MATCHES NOW"], [[one["rule"], str(one["matched"]), str(one["matches"])] for one in other])
    for key, titles in (
        ("observed", ["OBSERVED RULE", "WOULD SAY", "WITHOUT IT", "RECIPIENTS"]),
        ("routes", ["ROUTE WAS", "WOULD BE", "RECIPIENTS"]),
        ("unanswered", ["THE RECORD DOES NOT TELL", "RECIPIENTS"]),
    ):
        if found[key]:
            click.echo()
            print_table(titles, [[str(value) for value in one.values() if not isinstance(value, list)] for one in found[key]])


def _messages(found: dict[str, Any]) -> None:
    for change in found["changes"]:
        if change["newest"]:
            how = f" {change['how']}" if change["how"] else ""
            click.echo(f"\n{printable(change['rule'])}{how}, {change['was']} would be {change['now']}:")
        for one in change["newest"]:
            whom = f"  {one['sender'] or '<>'} to {one['recipient']}" if "recipient" in one else ""
            click.echo(printable(f"  {one['message']}/{one['ordinal']}  {one['received']}{whom}  {one['because']}", 500))
        if len(change["newest"]) < change["recipients"] and change["newest"]:
            click.echo(f"  … the newest {len(change['newest'])} of {change['recipients']}")
