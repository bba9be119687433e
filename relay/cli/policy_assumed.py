"""What `sluis policy explain --eml` can't know of a file, and takes for granted unless somebody says otherwise."""

from collections.abc import Sequence

import click

from relay.model.authentication import Authentication, Result
from relay.model.client import Side
from relay.policy.models import Policy
from relay.rehearsal.stand import Given

POLICIES = ("none", "quarantine", "reject")
_OF_OTHERS = frozenset(
    {(name, Result.POLICY) for name in ("spf", "dmarc")}
    | {(name, Result.SOFTFAIL) for name in ("dkim", "dmarc")}
    | {("dmarc", Result.NEUTRAL)}
)
"""What a method never comes to (RFC 8601 §2.7): a rule could not ask for it."""


def authentication_of(given: Sequence[str]) -> Authentication | None:
    """`spf=pass dmarc=fail dmarc_policy=reject`, in one or several; None where nothing was given. Raises BadParameter."""
    pairs = [pair.partition("=") for text in given for pair in text.replace(",", " ").split()]
    if not pairs:
        return None
    words = {name: word for name, _, word in pairs}
    if unknown := sorted(words.keys() - {"spf", "dkim", "dmarc", "dmarc_policy"}):
        raise click.BadParameter(f"'{unknown[0]}' is none of spf, dkim, dmarc, dmarc_policy")
    policy = words.pop("dmarc_policy", "")
    if policy not in ("", *POLICIES):
        raise click.BadParameter(f"dmarc_policy is one of {', '.join(POLICIES)}")
    for name, word in words.items():
        known = [result.value for result in Result if (name, result) not in _OF_OTHERS]
        if word not in known:
            raise click.BadParameter(f"{name} comes to one of {', '.join(known)}")
    if len(pairs) > len({name for name, _, _ in pairs}):
        raise click.BadParameter("one of them is given twice")
    return Authentication(policy=policy, **{name: Result(word) for name, word in words.items()})  # type: ignore[arg-type]


def assumptions(given: Given, policy: Policy) -> list[str]:
    """In words, with the option that says otherwise."""
    client = next((one for one in policy.clients if one.name == given.client), None)
    found = [f"the phase {given.phase}" + (", the brake on" if given.brake else "") + ", and now"]
    found.append("it came over TLS (--no-tls)" if given.tls else "it came without TLS")
    if client is not None and client.side is Side.OUTSIDE and given.authentication is None:
        found.append("nothing is signed, no domain asks anything: spf, dkim and dmarc are none (--authenticated)")
    if not given.first_times:
        found.append("the sender wrote to all recipients before (--first-time)")
    found.append("every recipient exists, no rate is used up, and clamd finds nothing")
    return found
