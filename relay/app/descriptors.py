"""Open files: as many as the settings may need, told at the start and not in the middle of a flood."""

import resource

from relay.listen.limits import most_open
from relay.model.errors import ConfigurationError
from relay.settings.models import Settings

RESERVE = 256
"""For what people need when the rest is in use: control socket, metrics, store, keys, log, name servers."""
PER_WORKER = 4
PER_DELIVERY = 3  # the next hop, the body, a probe


def needed(settings: Settings) -> int:
    """Descriptors that everything at its limit would take."""
    # of each that is served a body in the spool, too
    sessions = sum(most_open(listener.connections) + listener.connections for listener in settings.listeners)
    return RESERVE + sessions + settings.inspection.workers * PER_WORKER + settings.delivery.parallel * PER_DELIVERY


def make_room(settings: Settings) -> None:
    """Raises the soft limit of this process to its hard one (getrlimit(2)). Raises ConfigurationError where the settings don't
    fit in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = needed(settings)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        connections = sum(listener.connections for listener in settings.listeners)
        raise ConfigurationError(
            [
                f"{connections} connections of all listeners need {wanted} open files, and this process may have {hard}: "
                "raise the limit (systemd: LimitNOFILE=, compose: ulimits.nofile), or lower `connections`"
            ]
        )
