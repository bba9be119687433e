"""Findings, policy and phase to one disposition for each recipient. Promise: pure; the strictest rule that is not waived wins;
unknown is never delivered."""

from relay.decide.verdict import decide, decide_at_rcpt

__all__ = ["decide", "decide_at_rcpt"]
