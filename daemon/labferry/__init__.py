"""labferry: registers every finished recording session in Alyx and verifies it in the archive."""

__version__ = "0.1.0"
