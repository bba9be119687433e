"""DKIM: asks for the key of a signature, and says what several come to (RFC 6376 §6)."""

from collections.abc import Sequence

from relay.authenticate.key import judged
from relay.model.authentication import Result, Signature, SignatureResult
from relay.model.ports import AuthenticationDns, ResolverTemporaryError

BEST_FIRST = (Result.PASS, Result.TEMPERROR, Result.POLICY, Result.NEUTRAL, Result.FAIL, Result.PERMERROR)
"""Of several signatures the best counts (RFC 6376 §6.1): one that is broken says no more than one that is missing."""


async def verified(signature: Signature, dns: AuthenticationDns) -> SignatureResult:
    """A key that DNS does not give now is a `temperror`."""
    if signature.known:
        result = Result(signature.known)
    else:
        try:
            result = judged(signature, await dns.txt(f"{signature.selector}._domainkey.{signature.domain}"))
        except ResolverTemporaryError:
            result = Result.TEMPERROR
    return SignatureResult(signature.domain, signature.selector, result)


def best(results: Sequence[SignatureResult]) -> Result:
    """One word for all of them; `none` without any."""
    found = {one.result for one in results}
    return next((result for result in BEST_FIRST if result in found), Result.NONE)
