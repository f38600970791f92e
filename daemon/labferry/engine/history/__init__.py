"""History: what was there before us is taken over from Alyx, not read and not sent (rulings 2 and 23).

`meeting` says of a session that is found for the first time whether it is history. `asking` takes over what Alyx has of
one, `lane` asks about one after the other while nobody else needs Alyx, and `releasing` is an operator's hand on what
differs.
"""
