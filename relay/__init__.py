"""Sluis: the road of a message, read from top to bottom.

    listen    sockets, TLS, limits, SMTP dialogue; streams DATA to the spool
    identify  which client is this: address, certificate, login
    receive   envelope and bytes: who may send as whom, recipients, rates
    read      bytes -> parts, under limits; what two readers could read in two ways
    inspect   malware, true type, archives, encrypted content, text rules
              of mail from outside: who really sent it, by SPF, DKIM and DMARC (`authenticate`)
    decide    findings + policy + phase -> one disposition for each recipient (pure)
    record    message, decision and audit event in one durable commit; then 250
    sign      trace field and DKIM signatures: a prefix, the body untouched
    deliver   claims from the record: next hop, required TLS, retry, bounce

The order is written in `relay/road.py`. Beside the road: `policy`, `phases`, `audit`, `store`, `settings`, and `model`,
the frozen types that the stages hand to each other.
"""
