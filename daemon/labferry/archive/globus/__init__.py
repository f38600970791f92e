"""Archive room: the Globus Transfer service, through its own SDK, and the decisions that need no service at all.

Nothing here keeps state: submission ids, tickets and first listings live in the journal, and the engine hands them in.
"""
