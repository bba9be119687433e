"""What the desk shows of a message, and what is new since it was released last."""

from typing import Any

from relay.policy.builtin import BRAKE, NO_RULE

NO_JUDGMENT = frozenset({BRAKE, NO_RULE})
"""Final rules that say nothing of the message itself; no release takes the brake away."""

Identity = tuple[str, str, str, str]
"""Kind, inspector, name, part: what a release is bound to."""


def findings_of(row: Any) -> list[Identity]:
    """The findings of a row of `relay.store.search.find`, without free text."""
    return sorted((item["kind"], item["inspector"], item["name"], item["part"]) for item in row.m_inspection["findings"])


def standing_rules(row: Any) -> list[str]:
    """The rules that stop it: matched, not waived, and stricter than deliver."""
    return sorted({match["rule"] for match in row.rules if match["waived_by"] is None and match["disposition"] != "deliver"})


def needs_second(row: Any) -> bool:
    """Whether a final rule stops it: that takes two people (promise 9)."""
    standing = set(standing_rules(row)) - NO_JUDGMENT
    return any(match["final"] and match["rule"] in standing for match in row.rules)


UNSIGNABLE = frozenset({"header-syntax", "header-unterminated", "line-ends"})
"""Ambiguities (relay.read.ambiguity) of a header that is no sound list of fields: no signature would mean the same to everybody."""


def leaves_unsigned(row: Any) -> bool:
    """Whether a message of ours would leave without the signature that released mail must have (promise 6)."""
    return bool(row.m_authorised) and any(
        kind == "ambiguous" and part == "" and name in UNSIGNABLE for kind, _, name, part in findings_of(row)
    )


def difference(row: Any) -> dict[str, Any] | None:
    """What stopped a message again that was released before: findings and rules that nobody had seen. None: it never was released."""
    if not row.release:
        return None
    seen = {tuple(item) for item in row.release["findings"]}
    return {
        "new_findings": [list(item) for item in findings_of(row) if item not in seen],
        "new_rules": [rule for rule in standing_rules(row) if rule not in row.release["rules"]],
        "gone_findings": [list(item) for item in sorted(seen - set(findings_of(row)))],
    }
