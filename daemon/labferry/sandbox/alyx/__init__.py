"""An Alyx of our own: behaves over HTTP as the real one was recorded, its bugs included.

Room: sandbox. Each module answers for one kind of record; `application` composes them.
"""
