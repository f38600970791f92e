"""The control room: how operators talk to the daemon, HTTP and JSON over a Unix socket.

`server` (with `api`, `listening` and `peers`) is the daemon's side and stands above the engine; `client` is the
commands' side and imports nothing of it.
"""
