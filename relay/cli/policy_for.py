"""`sluis policy for`: which rules speak of mail from one sender, whatever is in it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from relay.cli.common import config_option, json_option, print_fields, print_json, print_table
from relay.cli.policy_common import policies_option, working_copy
from relay.policy.base import is_address
from relay.policy.models import Policy
from relay.rehearsal.effective import Way, effective


@click.command()
@click.argument("sender")
@click.argument("recipient", required=False)
@policies_option
@config_option
@json_option
def command(sender: str, recipient: str | None, policies: Path | None, config: Path, as_json: bool) -> None:
    """Show the rules of the working copy that can come to speak of mail from SENDER ('' for bounces), to RECIPIENT or to anybody. What
    differs from message to message (content, phase, TLS, the time) is named where a rule depends on it."""
    for address in filter(None, (sender, recipient)):
        if not is_address(address):
            raise click.UsageError(f"'{address}' is no address")
    _, _, policy = working_copy(config, policies)
    ways = effective(policy, sender, recipient, datetime.now(UTC).date())
    if as_json:
        print_json({"policy": policy.digest, "sender": sender, "recipient": recipient, "ways": [_json(way, policy) for way in ways]})
        return
    if not ways:
        click.echo(f"no client may send as {sender or '<>'}: it is refused at MAIL FROM")
    for way in ways:
        print_fields([("client", way.client), ("direction", way.direction), *([("route", way.route)] if way.route else []), *_login(way)])
        rows = [
            [
                found.rule.name,
                found.rule.then + (" (final)" if found.rule.final else ""),
                f"depends on {', '.join(found.depends_on)}" if found.depends_on else "always",
                found.rule.because,
            ]
            for found in sorted(way.rules, key=lambda found: (-found.rule.disposition, found.rule.name))
        ]
        print_table(["RULE", "THEN", "WHEN", "BECAUSE"], rows, empty="no rule speaks of it: it is held, with an alert")
        waivers = _waivers(way, policy)
        if waivers:
            click.echo(f"waivers that may take some of them away: {', '.join(waivers)}")
        click.echo()


def _login(way: Way) -> list[tuple[str, str]]:
    return [("login", f"only as {', or '.join(way.logins)} (may_send_as of a sender)")] if way.logins else []


def _waivers(way: Way, policy: Policy) -> list[str]:
    named = {found.rule.name for found in way.rules}
    return [f"{waiver.name} (of {', '.join(waiver.rules)}, until {waiver.until})" for waiver in policy.waivers if named & set(waiver.rules)]


def _json(way: Way, policy: Policy) -> dict[str, Any]:
    return {
        "client": way.client,
        "direction": way.direction,
        "route": way.route or None,
        "logins": list(way.logins),
        "rules": [
            {
                "rule": found.rule.name,
                "then": found.rule.then,
                "final": found.rule.final,
                "because": found.rule.because,
                "depends_on": list(found.depends_on),
            }
            for found in way.rules
        ],
        "waivers": _waivers(way, policy),
    }
