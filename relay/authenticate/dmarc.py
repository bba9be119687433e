"""DMARC: whether what SPF or DKIM found good is the domain that people see in From (RFC 9989)."""

from collections.abc import Sequence

from relay.authenticate.dmarc_record import WORDS, Record, Tree
from relay.model.authentication import Result, SignatureResult
from relay.model.ports import AuthenticationDns, ResolverTemporaryError

MAY_PASS = (Result.PASS, Result.TEMPERROR)


async def dmarc(
    domain: str, spf: tuple[Result | None, str], signatures: Sequence[SignatureResult], dns: AuthenticationDns
) -> tuple[Result | None, str]:
    """The result for a domain in From, and what that domain asks to be done with mail that fails (empty where it has no record). None where
    only SPF could tell, and it is not known."""
    tree = Tree(dns)
    try:
        record = await tree.of_author(domain)
        if record is None:
            return Result.NONE, ""
        policy = await _policy(record, domain, dns)
    except ResolverTemporaryError:
        return Result.TEMPERROR, ""
    try:
        return await _judged(record, domain, spf, signatures, tree), policy
    except ResolverTemporaryError:
        return Result.TEMPERROR, policy


async def _judged(
    record: Record, domain: str, spf: tuple[Result | None, str], signatures: Sequence[SignatureResult], tree: Tree
) -> Result | None:
    """One that is good and aligned is enough; one that could still be keeps it open."""
    found = [(one.result, one.domain, record.strict_dkim) for one in signatures]
    result, spf_domain = spf
    if result is not None:
        found.append((result, spf_domain, record.strict_spf))
    open_ = result is None
    worst: Result | None = None
    for one, other, strict in sorted(found, key=lambda item: item[0] is not Result.PASS):
        if one in MAY_PASS and await _aligned(domain, other, strict, tree):
            if one is Result.PASS:
                return Result.PASS
            worst = Result.TEMPERROR
    return worst or (None if open_ else Result.FAIL)


async def _aligned(domain: str, other: str, strict: bool, tree: Tree) -> bool:
    """RFC 9989 §4.4. The organisational domain of the other is one that it lies in: where it does not lie in that of From, its name servers
    are not asked. They could keep silent, and so make a `temperror` of a failure."""
    if domain == other:
        return True
    if strict:
        return False
    organisational = await tree.organisational(domain)
    return f".{other}".endswith(f".{organisational}") and await tree.organisational(other) == organisational


async def _policy(record: Record, domain: str, dns: AuthenticationDns) -> str:
    """`t=y` asks for one step less (RFC 9989 §4.7)."""
    asked = record.p
    if record.domain != domain:
        asked = record.sp or record.p
        if record.np and record.np != asked and not await _exists(domain, dns):
            asked = record.np
    return WORDS[max(WORDS.index(asked) - 1, 0)] if record.testing else asked


async def _exists(domain: str, dns: AuthenticationDns) -> bool:
    """As RFC 9091 §2.7 had it: differs from RFC 9989 §3.2.14, which goes by NXDOMAIN, because a name without any sends no mail."""
    return bool(await dns.mx(domain) or await dns.addresses_of(domain, 4) or await dns.addresses_of(domain, 6))
