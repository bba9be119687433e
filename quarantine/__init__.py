"""The review desk: what waits for a person. A window on the record, with no key and no way to send.

A release is a one-message waiver for the findings that were seen: the relay inspects and decides again before anything leaves.
"""
