"""Which files of a session are datasets: patterns, dataset types and data formats, names Alyx keeps as they are.

Pure rules over relative paths; no file is opened and nobody is asked. Imports `errors` and `model` only.
"""

from labferry.datasets.names import AlfPath, collection_revision_name, is_raw
from labferry.datasets.patterns import EXCLUDED_SUFFIXES, IBL_PATTERNS, IBL_PATTERNS_STRICT, Matcher
from labferry.datasets.rules import RegistrationRules
from labferry.datasets.vocabulary import DataFormat, DatasetType, Vocabulary

__all__ = [
    "EXCLUDED_SUFFIXES",
    "IBL_PATTERNS",
    "IBL_PATTERNS_STRICT",
    "AlfPath",
    "DataFormat",
    "DatasetType",
    "Matcher",
    "RegistrationRules",
    "Vocabulary",
    "collection_revision_name",
    "is_raw",
]
