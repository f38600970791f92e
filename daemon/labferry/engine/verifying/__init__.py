"""Verifying one session on demand: the journal's word held against Alyx and against every archive.

Looks only, nothing is corrected; runs in the thread of whoever asks.
"""
