"""Joins the relay and the review desk: everything that can be asked of the relay."""

from collections.abc import Mapping

from quarantine.operations import OPERATIONS as DESK
from relay.control.operation import Operation
from relay.control.operations import OPERATIONS as RELAY

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in (*RELAY, *DESK)}
