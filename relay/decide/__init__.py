"""Findings, policy and phase to one disposition for each recipient. Promise: pure; the strictest rule that is not waived wins; unknown
is never delivered.
"""
