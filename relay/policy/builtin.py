"""The rules that every policy has, because without them unknown or dangerous mail could pass. They are named like any other."""

from relay.model.decision import Disposition
from relay.model.finding import UNDECIDABLE, Kind

MALWARE = "malware"
HEADER = "header"
BRAKE = "brake"
NO_RULE = "no-rule"

UNDECIDABLE_RULES: dict[Kind, str] = {kind: f"undecidable-{kind.value}" for kind in sorted(UNDECIDABLE)}
"""One for each kind, so that a waiver for encrypted mail says nothing of mail that can be read in two ways."""

BUILTIN: dict[str, tuple[Disposition, bool, str]] = {
    MALWARE: (Disposition.QUARANTINE, True, "malware was found"),
    **{name: (Disposition.QUARANTINE, False, f"not inspected whole: {kind.value}") for kind, name in UNDECIDABLE_RULES.items()},
    HEADER: (Disposition.REJECT, False, "the header is not acceptable"),
    BRAKE: (Disposition.HOLD, True, "the brake is on: nothing leaves"),
    NO_RULE: (Disposition.HOLD, True, "no rule covers this case"),
}
"""Name to disposition, final, reason. No waiver takes a final one away. A release by two people takes `malware` away for one message, a
release `no-rule`; nothing takes `brake` away but letting it go."""
