"""Archive jobs through Globus: sessions become batches, batches become tasks, tasks become evidence.

`stage` is a session's own share (plan, first look, verification, marking), `tending` the tasks' (submit, watch,
end), `batches` decides who travels with whom, and `lane` is the thread that does all of it.
"""
