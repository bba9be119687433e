"""The spool: one encrypted object for each body. Intake can write and not read; no byte is used before its tag is checked."""
