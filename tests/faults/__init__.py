"""Faults: what is promised holds when the relay is killed, its disk fails, or what is around it goes away.

    stand.py      a whole relay with its client, next hops, a real clamd: kill, start, settle, check
    patient.py    settings under which nothing is given up while a test holds it
    client.py     the client and its own log of what it heard
    next_hop.py   the next hop, which keeps each copy and looks into the record at the final dot
    strace.py     kills, stops and errors at an exact system call
    checker.py    reads client log, next hop, spool, queue and audit: promises 1, 2, 4, 5 and 14
    stored.py     what of the store it reads
    windows.py    where the relay is killed, and the proof that a message was there
    bombs.py      what kills it there, on SQLite and on PostgreSQL
    disk.py       EIO and ENOSPC; disk_faults.py lists them
    rounds.py     rounds, and the table; __main__.py plays many
    around/       faults of what is around the relay
    planted/      relays with a bug that the checker must find

A round: bring a message into the window, break something there, prove that the message was in it, undo the damage, `settle`, `check`.

    async with stand(tmp_path, database, clamd, seed=1) as at:
        release = at.hop.hold("DOT")                # the next hop keeps its replies to itself
        sent = await at.send(["clerk@court.example"])
        await at.hop.until_held("DOT")
        await at.kill()                             # kill -9
        release()
        await at.start()
        await at.settle()                           # the queue is empty: all that can leave has left
        assert at.check().violations == []

`make test` plays each window and the chief faults once, `make faults ROUNDS=500 SEED=7` as many as
wanted. docs/faults.md tells what was seen.
"""
