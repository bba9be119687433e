"""`sluis policy new`: a commented skeleton in the working copy, to be filled in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from relay.cli.common import config_option, settings_from
from relay.cli.policy_common import NAME, policies_option
from relay.model.errors import ConfigurationError
from relay.policy.load import load_policy

MODELINE = "# yaml-language-server: $schema=../schema.json\n"
RULE = """\
# One rule or several. Every key: docs/policy.md. After a change: sluis check, sluis policy test.
rules:
  - name: {name}
    when: # everything that is given must hold; a list holds if one of its entries does
      direction: [outbound]
      # recipient: [partner.example, list:somebody]
      # attachment: {{extensions: [zip], encrypted: true}}
      # if: message.subject.startsWith('[draft]')   # CEL, for what no key can say
    # unless:
    #   partner: [court]
    then: hold # deliver, hold, quarantine, reject
    because: a reason that staff can act on
    # tell: {{nl: "Wat de afzender mag lezen.", en: "What the sender may read."}}
    # final: true                 # no waiver takes it away
    # since: {today}
    mode: observe # does nothing yet, policy test and explain tell what it would do; take this line away to put it in force
"""
WAIVER = """\
# The one way to be milder: takes rules away where `when` surely holds, until its last day. Owner and reason are for whoever asks later.
waivers:
  - name: {name}
    rules: [{rule}]
    when:
      direction: [outbound]
      recipient: [partner.example]
    owner: who answers for it
    reason: why it is needed
    until: {until} # the last day (UTC)
"""
LIST = """\
# One entry a line, meant literally: an address, a domain (all addresses at it), or a SHA-256 in hex. Patterns are marked:
#   pattern: *@*.b.nl
# A rule refers to it as list:{name}, or by `group`.
"""
TEST = """\
# What a message must meet. sluis policy test runs it; nothing is sent.
tests:
  - name: {sentence}
    message: # or: {{eml: a-file-beside-this-one.eml}}
      subject: A subject
      attachments: [{{name: notes.txt, type: text/plain, text: "content"}}]
    envelope: {{client: {client}, sender: {sender}, recipients: [somebody@partner.example]}}
    # phase: closed
    # findings: [{{kind: malware, name: Some.Signature}}]
    expect:
      - {{disposition: deliver}} # and perhaps: rules: [name-of-a-rule], route: outside, code: 250
"""


@click.command()
@click.argument("kind", type=click.Choice(["rule", "waiver", "list", "test"]))
@click.argument("name")
@policies_option
@config_option
def command(kind: str, name: str, policies: Path | None, config: Path) -> None:
    """Write a commented skeleton of a rule, waiver, list or test, called NAME, into the working copy. No file is overwritten."""
    if not NAME.fullmatch(name):
        raise click.UsageError(f"'{name}' is no name: lower-case letters, digits and '-', beginning with a letter")
    folder = policies or settings_from(config).policies
    client, domain, waivable = _named(folder)
    path = (
        folder
        / {"rule": "rules", "waiver": "waivers", "list": "lists", "test": "tests"}[kind]
        / f"{name}.{'txt' if kind == 'list' else 'yaml'}"
    )
    today = datetime.now(UTC).date()
    text = {"rule": MODELINE + RULE, "waiver": MODELINE + WAIVER, "list": LIST, "test": MODELINE + TEST}[kind].format(
        name=name,
        today=today,
        until=today + timedelta(days=30),
        rule=waivable,
        sentence=name.replace("-", " "),
        client=client,
        sender=f"somebody@{domain}",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    click.echo(f"{path}: fill it in, then: sluis check; sluis policy test")


def _named(folder: Path) -> tuple[str, str, str]:
    """A client, a domain and a rule to begin with: of the working copy, or made up where it does not load: this may mend it."""
    try:
        policy = load_policy(folder)
    except ConfigurationError:
        return "mailservers", "example.org", "undecidable-encrypted"
    client = policy.clients[0].name if policy.clients else "mailservers"
    domain = next((pattern for pattern in policy.organisation.domains if not pattern.startswith(".")), "example.org")
    return client, domain, next((rule.name for rule in policy.rules if not rule.final and rule.then != "deliver"), "undecidable-encrypted")
