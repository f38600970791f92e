"""The record of a session: from its folder to the values that Alyx should hold (registration as IBL does it).

Room: sessions. Everything read here was written by rigs and people, and nothing of it is trusted: sizes are bounded,
links are not followed, and whatever a file holds ends in a value, a remark or a `BlockedError`.
"""

from labferry.sessions.record.body import create_body, not_typed_in, wanted_fields, water_body, weighing_body
from labferry.sessions.record.changes import changes, has_arrived, patch_body, written
from labferry.sessions.record.description import Description, Device, Sync, Task, parse_description, read_description
from labferry.sessions.record.moments import same_moment
from labferry.sessions.record.old_names import OLD_NAMES, new_name, release, rig_version
from labferry.sessions.record.reading import SessionFolder
from labferry.sessions.record.record import SessionRecord, read_record, require_data
from labferry.sessions.record.remark import Remark
from labferry.sessions.record.settings import TaskSettings, parse_settings
from labferry.sessions.record.trials import Trials, read_trials
from labferry.sessions.record.users import Users, session_users, user_of
from labferry.sessions.record.weights import Water, Weight

__all__ = [
    "OLD_NAMES",
    "Description",
    "Device",
    "Remark",
    "SessionFolder",
    "SessionRecord",
    "Sync",
    "Task",
    "TaskSettings",
    "Trials",
    "Users",
    "Water",
    "Weight",
    "changes",
    "create_body",
    "has_arrived",
    "new_name",
    "not_typed_in",
    "parse_description",
    "parse_settings",
    "patch_body",
    "read_description",
    "read_record",
    "read_trials",
    "release",
    "require_data",
    "rig_version",
    "same_moment",
    "session_users",
    "user_of",
    "wanted_fields",
    "water_body",
    "weighing_body",
    "written",
]
