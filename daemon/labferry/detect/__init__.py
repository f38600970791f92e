"""The detection room: what is below a root, when a session is complete, and what it consists of. Looks only."""
