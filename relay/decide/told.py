"""What the sender may read of a decision: the words that a rule has for that, or constant ones; never what was looked for or found."""

from relay.model.decision import Disposition, Verdict
from relay.policy.models import Policy, Tell

WORDS: dict[Disposition, Tell] = {
    Disposition.DELIVER: Tell(nl="Uw bericht is doorgelaten.", en="Your message was let through."),
    Disposition.HOLD: Tell(
        nl="Uw bericht wacht tot dit verkeer weer open is. U hoeft niets te doen; het gaat niet verloren.",
        en="Your message waits until this traffic is open again. You need not do anything; it is not lost.",
    ),
    Disposition.QUARANTINE: Tell(
        nl="Uw bericht wordt door een medewerker bekeken. U hoeft niets te doen; het gaat niet verloren.",
        en="Your message is being looked at by a member of staff. You need not do anything; it is not lost.",
    ),
    Disposition.REJECT: Tell(
        nl="Uw bericht is geweigerd en niet afgeleverd. Neem contact op met de ontvanger langs een andere weg.",
        en="Your message was refused and not delivered. Please reach the recipient in another way.",
    ),
}
DEFERRED = Tell(
    nl="Uw bericht kan nu nog niet worden gecontroleerd en wordt later opnieuw geprobeerd.",
    en="Your message can't be checked at the moment and will be tried again later.",
)


def told(verdict: Verdict, policy: Policy) -> Tell:
    """Of the rules that carry the disposition, the first that has words for it."""
    carrying = set(verdict.rules)
    own = next((rule.tell for rule in policy.rules if rule.name in carrying and rule.tell is not None), None)
    if own is not None:
        return own
    return DEFERRED if verdict.deferred else WORDS[verdict.disposition]
