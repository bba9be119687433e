"""`sluis dkim`: makes DKIM keys, prints their DNS records, and checks that DNS has them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from relay.app.resolver import DnsResolver
from relay.cli.common import config_option, json_option, print_json, problems_told, settings_from
from relay.model.address import domain_key
from relay.model.ports import Resolver, ResolverTemporaryError
from relay.policy.load import load_policy
from relay.settings.models import Settings
from relay.sign.dns_record import Published, check_record, record_name, record_text, zone_line
from relay.sign.keys import KeyRing
from relay.sign.new_key import existing_keys, new_key

ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
ADVICE = {
    Published.RIGHT: "DNS has this key",
    Published.MISSING: "DNS has no record: publish what `sluis dkim dns` prints",
    Published.WRONG: "DNS has another key, or a record that does not fit: publish what `sluis dkim dns` prints",
    Published.REVOKED: "DNS says that this key was revoked (p= is empty): make a new one",
    Published.TESTING: "DNS says that this key is only being tested (t=y), so that a failure counts as unsigned mail",
    Published.SEVERAL: "DNS has several records at this name: leave one",
    Published.UNKNOWN: "DNS gave no answer",
}


@click.group()
def command() -> None:
    """Make DKIM keys, print their DNS records, check them."""


@command.command()
@click.argument("domain")
@click.option("--algorithm", type=click.Choice(ALGORITHMS), multiple=True, help="default: one key of each")
@click.option("--selector", help="default: the algorithm and this month, such as rsa-202611")
@click.option("--bits", type=click.Choice(["2048", "3072"]), default="2048", show_default=True, help="of an RSA key")
@config_option
def new(domain: str, algorithm: tuple[str, ...], selector: str | None, bits: str, config: Path) -> None:
    """Make keys for DOMAIN, and print what goes into DNS and into the signing policy."""
    wanted = algorithm or ALGORITHMS
    if selector and len(wanted) > 1:
        raise click.UsageError("--selector names one key: give one --algorithm with it")
    folder = settings_from(config).dkim_keys
    key_domain = domain_key(domain)
    entries = []
    for name in wanted:
        chosen = selector or f"{name.partition('-')[0]}-{datetime.now(UTC):%Y%m}"
        with problems_told():
            key = new_key(folder, key_domain, chosen, name, int(bits))
        click.echo(zone_line(key_domain, chosen, record_text(key)))
        entries.append(f"      - {{selector: {chosen}, algorithm: {name}}}")
    click.echo(f"\n# first publish these records; then, in policies/signing.yaml:\n#\n#  - domain: {key_domain}\n#    keys:", err=True)
    click.echo("\n".join(f"#{entry}" for entry in entries), err=True)


@command.command()
@click.argument("domain", required=False)
@config_option
@json_option
def dns(domain: str | None, config: Path, as_json: bool) -> None:
    """Print the DNS records of the keys that are there, of DOMAIN or of all domains."""
    with problems_told():
        keys = existing_keys(settings_from(config).dkim_keys, domain_key(domain) if domain else None)
    if not keys:
        raise click.ClickException("no DKIM keys here (sluis dkim new DOMAIN)")
    if as_json:
        rows = [{"name": record_name(name, selector), "type": "TXT", "text": record_text(key)} for name, selector, key in keys]
        print_json(rows)
        return
    for name, selector, key in keys:
        click.echo(zone_line(name, selector, record_text(key)))


@command.command()
@click.argument("domain", required=False)
@config_option
@json_option
def check(domain: str | None, config: Path, as_json: bool) -> None:
    """Check that DNS has the public key of every key that the signing policy names. Exits 1 if one is not right."""
    settings = settings_from(config)
    with problems_told():
        rows = asyncio.run(_checked(settings, domain_key(domain) if domain else None, DnsResolver(settings.delivery.resolver)))
    if not rows:
        raise click.ClickException("the signing policy names no key" + (f" for {domain}" if domain else ""))
    if as_json:
        print_json([{"name": name, "result": result.value} for name, result in rows])
    else:
        for name, result in rows:
            click.echo(f"{name}: {result.value}: {ADVICE[result]}")
    if any(result is not Published.RIGHT for _, result in rows):
        raise SystemExit(1)


async def _checked(settings: Settings, domain: str | None, resolver: Resolver) -> list[tuple[str, Published]]:
    ring, rows = KeyRing(settings.dkim_keys), []
    for signing in load_policy(settings.policies).signing:
        signing_domain = domain_key(signing.domain)
        if domain in (None, signing_domain):
            for entry in signing.keys:
                key = ring.key(signing_domain, entry.selector, entry.algorithm)
                name = record_name(signing_domain, entry.selector)
                try:
                    result = check_record(await resolver.txt(name), key)
                except ResolverTemporaryError:
                    result = Published.UNKNOWN
                rows.append((name, result))
    return rows
