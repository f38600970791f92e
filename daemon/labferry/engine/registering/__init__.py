"""Last stage of a register job: the session and its files in Alyx, exactly once.

Every remote effect is a step: committed in the journal before it is sent, its answer after it came. A step without an
answer is first looked up; what Alyx already has is adopted, the rest is sent again only when the server certainly
stands still (ruling 13). `stage` runs the others in their order.
"""
