"""How the daemon shows itself: its log, and its word to systemd.

Room: observe. Imports nothing of the other rooms but `model`; knows nothing of sessions or jobs.
"""
