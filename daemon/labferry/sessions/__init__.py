"""What a session is: the grammar of its folder's path and the walk over its files.

Near the bottom of the layers: everything above may import from here, and only `model` and `errors` are imported.
"""
