"""The engine room: lanes that claim jobs from the journal, run the other rooms and write down the outcomes."""
