"""`sluis policy explain`: why a message was, or would be, decided as it was."""

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_json, problems_told, settings_from, time_text
from relay.cli.policy_assumed import assumptions, authentication_of
from relay.cli.policy_common import WORKER, policies_option, working_copy
from relay.decide.explain import explain
from relay.judge import case_of, day_of
from relay.model.address import address_key
from relay.model.authentication import Authentication
from relay.model.errors import ConfigurationError
from relay.model.text import printable
from relay.policy.models import Policy
from relay.receive.senders import may_send_as
from relay.rehearsal.looking import looking
from relay.rehearsal.message import with_line_ends
from relay.rehearsal.stand import Given, Rehearsed, rehearse
from relay.rehearsal.told import as_json, as_lines
from relay.settings.models import Settings


@click.command()
@click.argument("message", required=False)
@click.option("--reason", help="for MESSAGE: why; it is kept in the audit with your name")
@click.option("--eml", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="instead: a file with a whole message")
@click.option("--from", "sender", help="with --eml: the reverse-path; '' for a bounce")
@click.option("--to", "recipients", multiple=True, help="with --eml: a recipient; may be given again")
@click.option("--client", help="the client that brings it; without it the first that may send as the reverse-path")
@click.option("--phase", help="the phase; without it the most open one")
@click.option("--brake", is_flag=True, help="as if the brake were on")
@click.option("--no-tls", is_flag=True, help="as if it came without TLS")
@click.option(
    "--authenticated",
    metavar="METHOD=RESULT",
    multiple=True,
    callback=lambda _, __, given: authentication_of(given),
    help="with --eml, of mail from outside: spf=pass, dkim=fail, dmarc=pass, dmarc_policy=reject; may be given again, or several in one",
)
@click.option("--first-time", "first_times", metavar="RECIPIENT", multiple=True, help="with --eml: one whom the sender never wrote to")
@click.option("--first-times-today", type=click.IntRange(0), default=0, help="with --eml: first-time recipients that the sender has today")
@click.option("--every", is_flag=True, help="show rules that had nothing to do with it, too")
@policies_option
@config_option
@json_option
def command(
    message: str | None, reason: str | None, policies: Path | None, config: Path, as_json: bool, every: bool, eml: Path | None, **asked: Any
) -> None:
    """Explain why MESSAGE (its id, or the commitment in the client's 250) was decided as it was, under the policy that decided it. With
    --eml: what the working copy of the policy would do with a file; nothing is sent, recorded or looked up then, and clamd is not asked.
    What is assumed instead is told with the answer: say it (--authenticated, --first-time) where it is otherwise."""
    if (message is None) == (eml is None):
        raise click.UsageError("give either a MESSAGE of the record, or a file (--eml)")
    if message is not None:
        if reason is None:
            raise click.UsageError("a message of the record is somebody's: say why (--reason)")
        found = call_operation(settings_from(config), "policy.explain", {"id": message, "reason": reason})
        title = f"message {found['message']}, received {time_text(found['received_us'])}, decided {time_text(found['decided_us'])}"
    else:
        assert eml is not None
        if asked["sender"] is None or not asked["recipients"]:
            raise click.UsageError("--eml needs an envelope: --from and --to")
        found, title = _of_file(config, policies, eml, **asked)
    if as_json:
        print_json(found)
        return
    click.echo(title)
    for assumed in found.get("assumed", ()):
        click.echo(f"  assumed: {assumed}")
    for one in found["recipients"]:
        for line in _refusal(one) if one["disposition"] == "refuse" else as_lines(one, every):
            click.echo(printable(line, 2000))
        if not one.get("as_recorded", True):
            click.echo(f"  recorded {one['recorded']}: this version of Sluis decides otherwise")


def _of_file(config: Path, policies: Path | None, eml: Path, **asked: Any) -> tuple[dict[str, Any], str]:
    settings, _, policy = working_copy(config, policies)
    with problems_told():
        given = _given(policy, eml, **asked)
        rehearsed = asyncio.run(_rehearsed(settings, policy, given))
    found = {
        "policy": policy.digest,
        "phase": given.phase,
        "client": given.client,
        "assumed": assumptions(given, policy),
        "recipients": _told(given, policy, rehearsed),
    }
    title = f"policy {policy.digest[:16]}, phase {given.phase}, client {given.client}" + (", brake on" if given.brake else "")
    return found, title


def _given(
    policy: Policy,
    eml: Path,
    sender: str,
    recipients: tuple[str, ...],
    client: str | None,
    phase: str | None,
    brake: bool,
    no_tls: bool,
    authenticated: Authentication | None,
    first_times: tuple[str, ...],
    first_times_today: int,
) -> Given:
    octets = with_line_ends(eml.read_bytes())
    known = client or next((one.name for one in policy.clients if not sender or may_send_as(one, None, address_key(sender), policy)), None)
    if known is None:
        raise ConfigurationError([f"no client may send as {sender}: say which one brings it (--client)"])
    now_us = time.time_ns() // 1000
    return Given(
        octets,
        known,
        sender,
        recipients,
        phase or policy.organisation.phases[-1],
        now_us,
        tls=not no_tls,
        brake=brake,
        authentication=authenticated,
        first_times=tuple(map(address_key, first_times)),
        first_times_today=max(first_times_today, len(first_times)),
    )


async def _rehearsed(settings: Settings, policy: Policy, given: Given) -> Rehearsed:
    async with looking(settings, WORKER) as inspect:
        return await rehearse(given, policy, inspect)


def _told(given: Given, policy: Policy, rehearsed: Rehearsed) -> list[dict[str, Any]]:
    refused = [
        {"recipient": one.recipient, "disposition": "refuse", "reply": str(one.reply), "because": one.reason}
        for one in rehearsed.outcomes
        if one.verdict is None
    ]
    if rehearsed.decided is None:
        return refused
    decided = rehearsed.decided
    explained = explain(case_of(decided.inspected), policy, decided.decision.epoch, day_of(given.at_us), decided.decision)
    return refused + [as_json(one, policy) for one in explained]


def _refusal(one: dict[str, Any]) -> list[str]:
    return [f"{one['recipient']}: refused before the message is sent", f"  reply    {one['reply']}", f"  because  {one['because']}"]
