"""The control room: how operators talk to the daemon, HTTP and JSON over a Unix socket.

`server` (with `listening` and `peers`) and `api`, which lets `questions`, `streams` and `orders` answer `messages`, are
the daemon's side and stand above the engine; `client` is the commands' side and imports nothing of it.
"""
