"""The journal room: what was seen, what is to be done, what was done. Nobody else opens the file."""

from labferry.journal.database import JOURNAL, JournalError
from labferry.journal.journal import Journal

__all__ = ["JOURNAL", "Journal", "JournalError"]
