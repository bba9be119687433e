"""How the whole journey of a message is shown: what came, what was found, what was decided for whom, what became of it, who did what."""

from pathlib import Path
from typing import Any

import click

from relay.cli.call import call_operation
from relay.cli.common import config_option, json_option, print_fields, print_json, reason_option, settings_from, time_text
from relay.model.text import printable
from relay.rehearsal.told import effect_lines


def journey_command(operation: str) -> click.Command:
    """A `show` command over an operation that gives a journey."""

    @click.command(help="Show the whole journey of MESSAGE: its id, or the commitment in the client's 250.")
    @click.argument("message")
    @reason_option
    @config_option
    @json_option
    def show(message: str, reason: str, config: Path, as_json: bool) -> None:
        journey = call_operation(settings_from(config), operation, {"id": message, "reason": reason})
        if as_json:
            print_json(journey)
            return
        _message(journey["message"])
        for delivery in journey["deliveries"]:
            _delivery(delivery)
        for entry in journey.get("review", []):
            _review(entry)
        for told in journey["notices"]:
            click.echo("\n" + printable(f"notice to {told['address']} by rule {told['rule']}: {told['result'] or 'not written yet'}"))
        for request in journey["requests"]:
            click.echo(
                f"\nrequest {request['id']}: {request['kind']} by {request['actor']} ({printable(request['reason'])}): {request['state']}"
            )
        click.echo()
        for event in journey["events"]:
            _event(event)

    return show


def _message(message: dict[str, Any]) -> None:
    inspection, peer = message["inspection"], message["peer"]
    header = inspection["header"]
    print_fields(
        [
            ("message", message["id"]),
            ("received", f"{time_text(message['received_us'])} from {peer['address']} ({peer['helo']}) as client {message['client']}"),
            ("tls", " ".join([peer["tls"]["version"], peer["tls"]["cipher"]]) if peer.get("tls") else "none"),
            ("sender", message["sender"] or "<>"),
            ("from", ", ".join(header["from_addresses"])),
            ("subject", header["subject"]),
            ("message-id", message["header_message_id"]),
            ("size, digest", f"{message['size']} octets, sha256 {message['digest']}"),
            ("reply", message["reply"]),
            ("commitment", message["commitment"]),
            ("body", "kept, encrypted" if message["has_body"] else "not kept"),
        ]
    )
    if authentication := inspection.get("authentication"):
        click.echo(printable(f"authentication: {_authenticated(authentication)}", 1000))
    for item in inspection["attachments"]:
        name = item["name"] or "(no name)"
        click.echo(printable(f"part {item['part']}: {name}, {item['declared']}, truly {item['true_type']}, {item['size']} octets"))
    for finding in inspection["findings"]:
        where = f" in part {finding['part']}" if finding["part"] else ""
        detail = f" ({finding['detail']})" if finding["detail"] else ""
        click.echo(printable(f"finding: {finding['kind']} {finding['name']} by {finding['inspector']}{where}{detail}", 1000))
    for name in inspection["unavailable"]:
        click.echo(f"no answer from {name}")


def _authenticated(found: dict[str, Any]) -> str:
    """What SPF, DKIM and DMARC said, and of which domains."""
    signed = [f"{domain or '?'}/{selector or '?'} {result}" for domain, selector, result in found["signatures"]]
    asks = f", which asks for {found['policy']}" if found["policy"] else ""
    return "; ".join(
        [
            f"spf {found['spf'] or 'not known'} ({found['spf_domain'] or 'no domain'})",
            f"dkim {found['dkim']}" + (f" ({', '.join(signed)})" if signed else ""),
            f"dmarc {found['dmarc'] or 'not known'} ({found['from_domain'] or 'no domain'}{asks})",
        ]
    )


def _delivery(delivery: dict[str, Any]) -> None:
    state = f"{delivery['state']}, {delivery['disposition']}: {delivery['because']}"
    click.echo("\n" + printable(f"to {delivery['recipient']} ({delivery['ordinal']}): {state}", 1000))
    for match in delivery["matches"]:
        waived = f", waived by {match['waived_by']}" if match["waived_by"] else ""
        click.echo(
            printable(f"  rule {match['rule']}: {match['disposition']}{' (final)' if match['final'] else ''}{waived}: {match['because']}")
        )
    for match in delivery["observed"]:
        click.echo(printable(f"  observed rule {match['rule']} would have said {match['disposition']}: {match['because']}"))
    for line in effect_lines(delivery["effects"] or {}):
        click.echo(printable(f"  {line}", 1000))
    if delivery["outcome"]:
        outcome = delivery["outcome"]
        click.echo(printable(f"  {outcome['next_hop'] or 'no next hop'} {outcome['tls'] or 'no TLS'}: {outcome['reply']}"))
    if delivery["possible_duplicates"]:
        click.echo(f"  possible duplicates: {delivery['possible_duplicates']} attempts ended without an answer to the final dot")
    if delivery["next_us"]:
        click.echo(f"  next attempt {time_text(delivery['next_us'])}, until {time_text(delivery['expires_us'])}")


def _review(entry: dict[str, Any]) -> None:
    people = "two people" if entry["second_person"] else "one person (single-admin mode)" if entry["single_admin"] else "one person"
    click.echo("\n" + printable(f"to release for {entry['recipient']}: {people}"))
    since = entry["since_release"]
    if since:
        for finding in since["new_findings"]:
            click.echo(printable(f"  new since it was released: {' '.join(finding)}"))
        for rule in since["new_rules"]:
            click.echo(printable(f"  new since it was released: rule {rule}"))


def _event(event: dict[str, Any]) -> None:
    if "time_us" not in event:
        click.echo(f"event {event['id']}: erased")
        return
    click.echo(
        printable(f"{time_text(int(event['time_us']))} {event['kind']}: {event['result']}, by {event['actor']}: {event['reason']}", 500)
    )
