"""The journal room: what was seen, what is to be done, what was done. Nobody else opens the file."""

from labferry.journal.database import JOURNAL, JournalError
from labferry.journal.journal import Journal
from labferry.journal.recovery import open_journal

__all__ = ["JOURNAL", "Journal", "JournalError", "open_journal"]
