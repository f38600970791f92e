"""Every precondition that only a running daemon can see: one module per neighbour, each yields checks.

Looks only; runs in the thread of whoever asks.
"""
