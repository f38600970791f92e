"""The archive room: where a session's bytes go, and how it is known that they arrived.

Takes values and returns values. Nothing here knows the journal, the configuration, Alyx or the detector;
the engine plans what goes where, runs `advance` and writes down what comes back.
"""
