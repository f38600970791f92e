"""Content that takes the place of other content in the archives: whether it may, which, when, and what Alyx hears.

The order is always the same: new bytes to a new name, verified, in every archive that has the old ones; then Alyx is
told that the copy is withdrawn; then the names are exchanged, and what stood there is kept; then the new hash is
registered; then the copy is marked. So Alyx says of nothing but the bytes with its hash that they exist (ruling 10).
"""
