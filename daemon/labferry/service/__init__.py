"""The process: one daemon per state directory, its threads, its signals, its word to systemd.

`lock` keeps a second daemon out, `assembly` puts the rooms together, `process` lives and dies.
"""
