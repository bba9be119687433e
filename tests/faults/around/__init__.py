"""Faults of what is around the relay: scanner, next hop, database, clock, descriptors, stored bodies. The relay itself lives on.

    play.py       rounds of such faults, the proof that a message was there, the checker after each
    next_hop.py   drops, hangs and refusals at each stage
    scanner.py    clamd killed, hung, answering garbage, cut short
    postgres.py   PostgreSQL stopped, crashed, failed over, without room
    backup.py     a store that is put back as it was before
    process.py    descriptors that run out, a clock that jumps
    bodies.py     stored bodies that are altered, cut short, exchanged or away

`make test` plays the chief ones once (tests/faults/test_surroundings_*.py), `python -m tests.faults.around --rounds 300 --seed 7` many.
"""
