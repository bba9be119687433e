"""Every kind of event that there is. `make_event` knows no other, so that this list is whole."""

from types import MappingProxyType

KINDS = MappingProxyType(
    {
        "accepted": "a message was taken into custody: envelope, client, digest, findings, and the decision for each recipient",
        "refused": "a command or a message was refused: who, what, and the reply",
        "adopted": "a client sent again what is in custody, because it had not heard so: it heard the first receipt, nothing was added",
        "decided": "what waited was inspected and decided again",
        "outcome": "what became of an attempt: for each recipient state, next hop, TLS, reply, digest of the prefix, possible duplicate",
        "start": "a process started",
        "stop": "a process stopped",
        "reload": "settings and policy were read again: done, or refused with the problems",
        "policy": "another policy is in force",
        "high-water": "the mark of how far commits have come was missing, or moves on after a store went back behind it",
        "phase": "another phase holds",
        "phase-asked": "somebody asked for another phase",
        "phase-approved": "a second person approved it",
        "phase-refused": "a second person refused it",
        "brake": "the brake is on, or off again",
        "brake-asked": "somebody asked to let go of the brake",
        "brake-approved": "a second person approved it",
        "brake-refused": "a second person refused it",
        "release-asked": "somebody asked to release a quarantined delivery, with the findings that were seen",
        "release-approved": "a second person approved it",
        "release-refused": "a second person refused it",
        "release": "a quarantined delivery went back to be inspected and decided again, or waits for a second person",
        "quarantine-delete": "a quarantined delivery was deleted",
        "queue-retry": "a queued delivery was made due at once",
        "queue-hold": "a queued delivery was held",
        "queue-unhold": "a held delivery went back to be inspected and decided again",
        "queue-delete": "a waiting delivery was deleted",
        "list-read": "somebody looked at a work list: the quarantine or the queue",
        "message-search": "somebody searched for messages",
        "message-read": "somebody looked at the journey of a message",
        "content-read": "somebody read the decrypted content of a message",
        "audit-read": "somebody read events",
        "message-kept": "somebody said that retention must leave a message as it is",
        "message-unkept": "somebody took that back",
        "retention": "bodies and records whose time was over were erased: how many of each, and what is older than when",
        "keys-rotated": "the spool has a new key pair, and body keys were wrapped to it",
    }
)
