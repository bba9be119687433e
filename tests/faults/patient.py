"""Settings under which nothing is given up while a test holds it: a next hop that keeps its reply to itself, an object store that stands
still. None of them costs time but where a test fails."""

from typing import Any

from relay.settings.models import ObjectStore

DELIVERY = {"connect_timeout": 30, "command_timeout": 60, "data_timeout": 60}
"""Seconds; meanwhile strace attaches to the relay, or a command is run."""
OBJECT_STORE_SECONDS = 60


def over_bucket(bucket: ObjectStore) -> dict[str, Any]:
    """Of a spool whose bodies lie in an object store."""
    return {"s3": bucket.model_copy(update={"deadline": OBJECT_STORE_SECONDS}).model_dump(mode="json", exclude_unset=True)}
