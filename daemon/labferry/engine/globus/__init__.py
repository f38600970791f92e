"""Archive jobs through Globus: sessions become batches, batches become tasks, tasks become evidence.

`stage` is a session's own share (plan, first look, verification, marking), `tending` the tasks' (watch, end) and
`filling` new ones (who is ready, submit). `batches` and `endings` are the decisions in it, pure; `lane` is the thread
that does all of it.
"""
