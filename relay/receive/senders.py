"""Who may send as whom: the reverse-path at MAIL FROM, the header From after DATA."""

from relay.model.address import Mailbox, domain_key
from relay.model.client import Side
from relay.model.features import Header
from relay.model.finding import Finding, Kind
from relay.policy.match import pattern_matches
from relay.policy.models import Client, Policy

INSPECTOR = "receive"


def is_ours(domain: str, policy: Policy) -> bool:
    """Whether a domain is the organisation's."""
    return bool(domain) and any(pattern_matches(pattern, f"postmaster@{domain_key(domain)}") for pattern in policy.organisation.domains)


def may_send_as(client: Client, login: str | None, address: str, policy: Policy) -> bool:
    """Whether policy lets this client (or the login on it) use this address key.

    From outside, `*` and `.b.nl` stand for everybody but ourselves: who sends as one of our domains from there must be named to the letter.
    """
    delegated = tuple(pattern for rule in policy.senders if login is not None and rule.login == login for pattern in rule.may_send_as)
    patterns = client.may_send_as + delegated
    if client.side is Side.OUTSIDE and is_ours(address.rpartition("@")[2], policy):
        patterns = tuple(pattern for pattern in patterns if _is_of_us(pattern, policy))
    return any(pattern_matches(pattern, address) for pattern in patterns)


def _is_of_us(pattern: str, policy: Policy) -> bool:
    """Whether a pattern speaks of our domains only, and not of a wider circle that happens to hold them."""
    if pattern == "*":
        return False
    return is_ours(f"any{pattern}" if pattern.startswith(".") else pattern.rpartition("@")[2], policy)


def authorised(client: Client, login: str | None, path: Mailbox | None, policy: Policy) -> bool:
    """Whether the reverse-path is the client's own, so that its domain may be signed for. The null reverse-path is where policy says so."""
    if path is None:
        return client.may_send_null
    return may_send_as(client, login, path.key, policy)


def header_findings(header: Header, client: Client, login: str | None, policy: Policy) -> tuple[Finding, ...]:
    """What is wrong with the header From, as findings that decide rejects: none, several, unparsable, or not the client's to use.

    RFC 5322 §3.6.2 allows several authors with a Sender; differs from RFC 5322 §3.6.2: exactly one author is taken, because everything
    that shows or checks a From (DMARC, RFC 7489 §6.6.1) takes one of several at will.
    """
    if header.from_fields == 0:
        return (_finding("from-missing"),)
    if header.from_fields > 1 or len(header.from_addresses) > 1:
        return (_finding("from-several"),)
    if not header.from_addresses:
        return (_finding("from-unparsable"),)
    if client.forwards:
        return ()
    address = header.from_addresses[0]
    return () if may_send_as(client, login, address, policy) else (_finding("from-not-allowed"),)


def _finding(name: str) -> Finding:
    return Finding(Kind.HEADER, INSPECTOR, name)


def loop_findings(header: Header, limit: int) -> tuple[Finding, ...]:
    """A message with more Received fields than `limit` runs in a circle (RFC 5321 §6.3)."""
    return (_finding("mail-loop"),) if header.received > limit else ()
