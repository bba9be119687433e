"""How much memory Sluis takes: many connections, many large messages, slow clients. `python -m bench.memory` prints the table."""
