"""The registry room: everything that is said to Alyx, and how its answers are read.

Values in, values out. Nothing here opens the journal, knows the configuration or decides when something is
tried again: each operation is one look or one remote effect, and the engine drives it and records it.
From here only `datasets`, `sessions`, `errors` and `model` may be used.
"""
