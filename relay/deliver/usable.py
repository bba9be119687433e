"""Whether this machine can deliver under a policy: the files of certificates that its routes name are here, and are such."""

from relay.deliver.tls import ClientContexts
from relay.policy.models import Policy


def check_certificates(policy: Policy) -> None:
    """Raises ConfigurationError."""
    contexts = ClientContexts()
    for route in policy.routes:
        if route.ca_file is not None:
            contexts.context(route.tls, route.ca_file)
