"""Findings, policy and phase to one disposition for each recipient. Promise: pure; the strictest rule that is not waived wins;
unknown is never delivered."""

from relay.decide.verdict import asks_for_authentication, asks_for_day_count, asks_for_first_times, decide, decide_at_rcpt, prepare

__all__ = ["asks_for_authentication", "asks_for_day_count", "asks_for_first_times", "decide", "decide_at_rcpt", "prepare"]
