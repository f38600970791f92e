"""The error taxonomy: every condition an operator can meet has a code, a sentence and a way out.

Bottom of the layers, beside `model`. `CODES` is the closed list of reason codes; `docs/codes.md` is written
from it and a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command (interface contract)."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    ATTENTION = 3
    NOT_RUNNING = 4
    NOT_PERMITTED = 5
    BAD_CONFIG = 6
    DOCTOR = 7
    LOGIN_NEEDED = 8
    TRY_LATER = 75
    INTERRUPTED = 130


class LabferryError(Exception):
    """A condition with a name, a sentence and a way out.

    Parameters
    ----------
    code : str
        Short and stable; operators filter by it.
    message : str
        One sentence that names the thing and the place.
    hint : str
        What to do about it; may be empty where the code's own hint in `CODES` says it.
    """

    exit_code = ExitCode.FAILURE

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint or (CODES[code].hint if code in CODES else "")


class ConfigError(LabferryError):
    """The configuration cannot be used."""

    exit_code = ExitCode.BAD_CONFIG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("config", message, hint)


class BlockedError(LabferryError):
    """A person must act before this job can go on; becomes the outcome `Blocked`."""


class UnavailableError(LabferryError):
    """A dependency does not answer, or says it cannot work now; becomes `Waiting` and opens its breaker.

    Attributes
    ----------
    dependency : str
        `alyx`, `globus`, or `archive:<target>`.
    retry_after : float
        Seconds the dependency asked us to stay away; 0 when it did not say.
    """

    exit_code = ExitCode.TRY_LATER

    def __init__(self, dependency: str, code: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(code, message)
        self.dependency = dependency
        self.retry_after = retry_after


class NotYetError(LabferryError):
    """Nothing is wrong, but this job must look again later; becomes `Waiting` without a breaker."""

    exit_code = ExitCode.TRY_LATER

    def __init__(self, code: str, message: str, after: float) -> None:
        super().__init__(code, message)
        self.after = after


class UnknownOutcomeError(LabferryError):
    """A request may or may not have been carried out: its answer was lost. Look before sending again."""

    def __init__(self, message: str) -> None:
        super().__init__("answer_lost", message)


class UnexplainedError(LabferryError):
    """A dependency failed on one request in a way it does not explain; becomes `Retry`."""


class ChangedError(LabferryError):
    """A file changed while it was being read, or since it was sealed; the session settles again."""

    def __init__(self, path: bytes, message: str) -> None:
        super().__init__("changed", message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Code:
    """What a reason code means, and what to do.

    `kind` is `blocked` (a person must act), `waiting` (the world must move), `file` (one file is left out,
    the rest proceeds), `detect` (the folder is not, or not yet, a finished session), `history` (the session was there
    before us) or `remark` (nothing stands still; worth knowing all the same).
    """

    kind: str
    title: str
    hint: str


CODES: dict[str, Code] = {
    # blocked: who must act, and how
    "subject_not_on_alyx": Code(
        "blocked",
        "Alyx does not know this subject",
        "Create the subject in Alyx or correct the folder's name, then `labferry retry SESSION`.",
    ),
    "ambiguous_subject": Code(
        "blocked",
        "two subjects share this nickname",
        "Alyx cannot tell them apart over REST: rename one of the subjects in Alyx, then `labferry retry SESSION`.",
    ),
    "subject_broken": Code(
        "blocked",
        "Alyx fails on this subject",
        "Look in Alyx for what it cannot compute with, such as a weighing of the subject without a time; correct it,"
        " then `labferry retry SESSION`.",
    ),
    "same_session_elsewhere": Code(
        "blocked",
        "another folder claims the same subject, date and number",
        "Decide which folder is the real one. If it is this one, move the other out of the root, then"
        " `labferry retry SESSION`; if it is the other, move this one out, then `labferry cancel SESSION`.",
    ),
    "moved": Code(
        "blocked",
        "the folder was another session in Alyx before it was renamed or moved",
        "If that is a mistake, rename the folder back. If the new name is right, correct or delete the old session in "
        "Alyx, then `labferry retry SESSION` registers this one.",
    ),
    "lab_without_repository": Code(
        "blocked",
        "the lab has no data repository for this server",
        "In Alyx, give the lab a data repository with this server's Globus endpoint, or set `repository` of the root.",
    ),
    "ambiguous_repository": Code(
        "blocked",
        "several data repositories fit",
        "Set `repository` of the root (or of the archive) to the right one of the names above.",
    ),
    "unknown_repository": Code(
        "blocked",
        "Alyx does not know the configured data repository",
        "Correct `repository` in the configuration or create it in Alyx.",
    ),
    "duplicate_session": Code(
        "blocked",
        "Alyx holds this session more than once",
        "Delete the wrong one in Alyx (its datasets go with it), then `labferry retry SESSION`.",
    ),
    "owned_by_other_server": Code(
        "blocked",
        "another labferry server registered this session",
        "Archive it from that server, or clear `labferry.server_name` in the session's json in Alyx.",
    ),
    "hash_conflict": Code(
        "blocked",
        "Alyx holds other content under this name, and it was not written from here",
        "Compare the file with the copy Alyx knows; keep one of them, then `labferry retry SESSION`.",
    ),
    "changed_after_archive": Code(
        "blocked",
        "content changed after it was verified in the archive",
        "Nothing was sent. If the new content is right: `labferry archive SESSION --replace` (the archived one is kept"
        " beside it). If not: put the archived content back, then `labferry retry SESSION`.",
    ),
    "no_datasets": Code(
        "blocked",
        "not one file of this session can be registered",
        "`labferry match SESSION` lists every file with the reason; add patterns or dataset types, then"
        " `labferry retry SESSION`.",
    ),
    "dataset_type": Code(
        "blocked",
        "Alyx has no dataset type for this file name",
        "Add the dataset type in Alyx, then `labferry retry SESSION`.",
    ),
    "several_dataset_types": Code(
        "blocked",
        "several dataset types of Alyx fit this file name",
        "Narrow the patterns of these dataset types in Alyx, then `labferry retry SESSION`.",
    ),
    "data_format": Code(
        "blocked",
        "Alyx has no data format for this extension",
        "Add the data format in Alyx, then `labferry retry SESSION`.",
    ),
    "orphan_dataset": Code(
        "blocked",
        "Alyx holds two dataset rows for one file",
        "Compare the rows that are named (`/datasets?session=…&name=…` in Alyx), delete the wrong one, then"
        " `labferry retry SESSION`.",
    ),
    "file_refused": Code(
        "blocked",
        "Alyx refused one of the files",
        "Read the message: it is Alyx' own. Rename or correct the file, then `labferry retry SESSION`.",
    ),
    "path_missing": Code(
        "blocked",
        "Alyx was not told the session's path",
        "Something between here and Alyx changes requests: look there, then `labferry retry SESSION`.",
    ),
    "path_refused": Code(
        "blocked",
        "Alyx does not accept the path",
        "Compare the folder's name with SUBJECT/YYYY-MM-DD/NNN and rename it, then `labferry rescan`; a revision"
        " (`#name#`) must be the last folder.",
    ),
    "date_refused": Code(
        "blocked",
        "Alyx does not take the date for one",
        "Correct the date in the folder's name, then `labferry rescan`.",
    ),
    "too_long_for_alyx": Code(
        "blocked",
        "a name is too long for Alyx",
        "Shorten the names of folders and files to 255 characters, then `labferry retry SESSION`.",
    ),
    "anonymous_request": Code(
        "blocked",
        "Alyx does not know who sent the request",
        "Set `[alyx] username`; what stands before Alyx may drop the login: look there, then `labferry retry SESSION`.",
    ),
    "malformed_request": Code(
        "blocked",
        "Alyx does not understand our request",
        "This Alyx is of another version, or labferry is wrong: report the message, then `labferry retry SESSION`.",
    ),
    "malformed_query": Code(
        "blocked",
        "Alyx does not understand our question",
        "This Alyx is of another version, or labferry is wrong: report the message, then `labferry retry SESSION`.",
    ),
    "note_target": Code(
        "blocked",
        "Alyx does not know what the note is about",
        "Look whether the session or insertion is still in Alyx, then `labferry retry SESSION`.",
    ),
    "protected": Code(
        "blocked",
        "datasets of this session are protected in Alyx",
        "Lift the protecting tag in Alyx or leave them as they are; the rest is registered.",
    ),
    "alyx_refused": Code(
        "blocked",
        "Alyx refused the request",
        "Read the message: it is Alyx' own. Correct it there or here, then `labferry retry SESSION`.",
    ),
    "unknown_lab": Code(
        "blocked", "Alyx does not know the lab", "Correct `lab` of the root, or create the lab in Alyx."
    ),
    "unknown_user": Code("blocked", "Alyx does not know our user", "Correct `[alyx] username`, or create the user."),
    "session_gone": Code(
        "blocked",
        "Alyx does not find the session any more",
        "If somebody deleted it by mistake: `labferry retry SESSION`.",
    ),
    "answer_mismatch": Code(
        "blocked",
        "Alyx registered something else than was sent",
        "Compare the datasets of this session in Alyx with `labferry match SESSION`; then `labferry retry SESSION`.",
    ),
    "session_differs": Code(
        "blocked",
        "the session is in Alyx under another subject, date or number",
        "Decide which is right: correct it in Alyx or rename the folder, then `labferry retry SESSION`.",
    ),
    "unknown_name": Code(
        "blocked",
        "Alyx does not know a project, a procedure, a water type or the like",
        "Add it in Alyx, or correct it where it is written (experiment description, task settings), then"
        " `labferry retry SESSION`.",
    ),
    "after_death": Code(
        "blocked",
        "the animal is dead in Alyx by the time it was given water",
        "Correct the date of death in Alyx, then `labferry retry SESSION`.",
    ),
    "bad_description": Code(
        "blocked",
        "the experiment description cannot be used",
        "Correct the file as the message says, then `labferry retry SESSION`.",
    ),
    "no_settings": Code(
        "blocked",
        "a task of this session has no task settings",
        "Copy the file from the rig, or correct `tasks` in the experiment description, then `labferry retry SESSION`.",
    ),
    "corrupt_settings": Code(
        "blocked",
        "the task settings cannot be used",
        "Put the rig's own copy of the file back, or correct the field that is named, then `labferry retry SESSION`.",
    ),
    "corrupt_trials": Code(
        "blocked",
        "the trial data cannot be read, or trials are missing",
        "Put the rig's own copy of the file back, then `labferry retry SESSION`.",
    ),
    "subject_mismatch": Code(
        "blocked",
        "the task settings name another subject than the folder",
        "Nothing was sent. Move the folder to its subject or correct the task settings, then `labferry retry SESSION`.",
    ),
    "number_mismatch": Code(
        "blocked",
        "the task settings name another session number than the folder",
        "Nothing was sent. Rename the folder or correct the task settings, then `labferry retry SESSION`.",
    ),
    "date_mismatch": Code(
        "blocked",
        "the task settings name another day than the folder",
        "Nothing was sent. Rename the folder or correct the task settings (a time ending in `Z` is converted to"
        " `[alyx] timezone`), then `labferry retry SESSION`.",
    ),
    "no_files": Code("blocked", "the folder holds no files", "Copy the data from the rig, or delete the folder."),
    "only_logs": Code(
        "blocked",
        "the folder holds logs and no data",
        "Copy the data from the rig; if nothing was recorded, delete the folder.",
    ),
    "destination_differs": Code(
        "blocked",
        "the archive holds a different file of the same name",
        "Nothing was overwritten. Find out which one is right. `labferry archive SESSION --replace` archives the"
        " session's and keeps the other beside it; or move that away, then `labferry retry SESSION`.",
    ),
    "destination_refused": Code(
        "blocked",
        "the archive's file system cannot take a file under its name",
        "Rename the file, or archive to a file system without this limit, then `labferry retry SESSION`.",
    ),
    "outside_local_path": Code(
        "blocked",
        "the source collection does not show this file",
        "Set `local_path` and `endpoint_subdir` of `[globus]` to a folder that contains the root, or share the root's"
        " folder in the collection; then `labferry retry SESSION`.",
    ),
    "not_transferable_name": Code(
        "blocked", "the name is not UTF-8, and Globus takes no other", "Rename the file, then `labferry retry SESSION`."
    ),
    "destination_unverified": Code(
        "blocked",
        "the archive holds a file of the same name and size, and it was not written from here",
        "Nothing was overwritten. `labferry verify SESSION --deep` compares its content, and goes on if it is the"
        " session's; `labferry archive SESSION --trust-size` takes it for that; `labferry archive SESSION --replace`"
        " archives the session's file and keeps this one beside it.",
    ),
    "target_path": Code(
        "blocked",
        "the archive's path cannot be told for this session",
        "Correct `path` of the archive, the globus_path in Alyx, or the lab, then `labferry retry SESSION`.",
    ),
    "transfer_refused": Code(
        "blocked",
        "Globus does not accept the transfer",
        "Read the message: it is Globus' own. Correct what it names, then `labferry retry SESSION`.",
    ),
    "rename_refused": Code(
        "blocked",
        "a file of an old rig cannot be given the name it has today",
        "Let the service's user write there (docs/operate.md), or set `compat_renames = false`; "
        "then `labferry retry SESSION`.",
    ),
    "hook_failed": Code(
        "blocked",
        "the command that is run after registration failed again and again",
        "Correct `[registration] on_registered` or the command itself, then `labferry retry SESSION`.",
    ),
    "transfer_failed": Code(
        "blocked",
        "Globus could not finish the transfer",
        "Read the message, put its cause right, then `labferry retry SESSION`; what has arrived is not sent again.",
    ),
    "transfer_hindered": Code(
        "blocked",
        "Globus cannot carry a file, though it is there and unchanged",
        "Nothing was sent again. The message names the file and the fault of Globus: put it right (a name, a link, a"
        " disk), then `labferry retry SESSION`.",
    ),
    "transfer_denied": Code(
        "blocked",
        "Globus may not read or write a file",
        "Nothing was sent again. The message names the file and the fault of Globus: permit it there, then"
        " `labferry retry SESSION`.",
    ),
    "endpoint_readonly": Code(
        "blocked",
        "the endpoint is read-only for us",
        "Nothing was sent. Have `CLIENT_ID@clients.auth.globus.org` given write permission in the collection,"
        " then `labferry retry SESSION`; it is looked at now and then anyway.",
    ),
    "transfer_cancelled": Code(
        "blocked", "somebody cancelled the transfer at Globus", "Find out who and why, then `labferry retry SESSION`."
    ),
    "unreadable": Code(
        "blocked",
        "a file or folder cannot be read",
        "Give the service user read permission, then `labferry retry SESSION`.",
    ),
    "crash": Code(
        "blocked",
        "this job failed unexpectedly too often",
        "`labferry history SESSION` has the details; report them, then `labferry retry SESSION`.",
    ),
    # waiting: what must happen in the world
    "alyx_down": Code(
        "waiting", "Alyx does not answer", "Nothing to do here: work resumes by itself when Alyx is back."
    ),
    "alyx_error": Code(
        "waiting",
        "Alyx fails on a request and does not say why",
        "Look at Alyx' own log; it is tried again for a while.",
    ),
    "not_alyx": Code(
        "waiting", "what answers does not speak like Alyx", "Correct `[alyx] url`; work resumes by itself."
    ),
    "alyx_throttled": Code("waiting", "Alyx asked us to slow down", "Nothing to do: work resumes by itself."),
    "alyx_login": Code(
        "waiting",
        "Alyx does not accept our login",
        "Correct the username and the password or token file; work resumes by itself.",
    ),
    "alyx_permission": Code(
        "waiting",
        "the Alyx user may not write",
        "Give the Alyx user permission to register; work resumes by itself.",
    ),
    "answer_lost": Code(
        "waiting",
        "an answer was lost",
        "Nothing to do: Alyx is asked what became of it before anything is sent again.",
    ),
    "files_in_flight": Code(
        "waiting",
        "Alyx may still be working on the last request",
        "Nothing to do: it is watched until it stands still.",
    ),
    "hook_running": Code(
        "waiting",
        "the command that is run after registration has not ended",
        "Nothing to do: it was started before the daemon began anew; its end is waited for, for 2 minutes at most.",
    ),
    "files_left": Code(
        "waiting", "a part of the files is done", "Nothing to do: smaller sessions go first, then the rest follows."
    ),
    "orphan_young": Code(
        "waiting",
        "Alyx holds a dataset row without file records beside the right one",
        "Nothing to do: it is removed when it is 10 minutes old, as nobody can be making it any more.",
    ),
    "session_not_on_alyx": Code(
        "waiting",
        "another program must create the session first",
        "Run the other program, or set `create_sessions = true`.",
    ),
    "no_eid": Code(
        "waiting",
        "Alyx has no session for a recording without a task",
        "Create the session in Alyx, with location, start time, lab and users; work resumes by itself.",
    ),
    "session_incomplete": Code(
        "waiting",
        "the session in Alyx lacks what only a person knows",
        "Fill in what the message names in Alyx; work resumes by itself.",
    ),
    "target_missing": Code(
        "waiting",
        "the archive is not there",
        "Mount the archive or correct its path; work resumes by itself.",
    ),
    "target_full": Code("waiting", "the archive is full", "Make room in the archive; work resumes by itself."),
    "target_error": Code(
        "waiting",
        "the archive reports an input/output error",
        "Look at the archive's file system; work resumes by itself.",
    ),
    "target_readonly": Code(
        "waiting",
        "the archive cannot be written",
        "Give the service user write permission; work resumes by itself.",
    ),
    "collection_unknown": Code(
        "waiting",
        "Globus knows no collection with this id",
        "Correct the `endpoint` of the archive, or of `[globus]`: the message names the id. Restart the service then.",
    ),
    "collection_offline": Code(
        "waiting",
        "the collection is not connected to Globus",
        "Start Globus Connect Personal on its machine, or ask its administrator; work resumes by itself.",
    ),
    "collection_paused": Code(
        "waiting",
        "the collection is paused",
        "Let Globus Connect Personal go on there, or ask its administrator; work resumes by itself.",
    ),
    "collection_denied": Code(
        "waiting",
        "the collection does not permit it",
        "Give the application (`CLIENT_ID@clients.auth.globus.org`) permission to read and write in the collection;"
        " work resumes by itself.",
    ),
    "source_wrong_subdir": Code(
        "waiting",
        "`endpoint_subdir` is not in the source collection",
        "Correct `endpoint_subdir` of `[globus]`: the path of `local_path` in the collection. Restart then.",
    ),
    "source_wrong_root": Code(
        "waiting",
        "the source collection shows another folder than this machine's",
        "Correct `local_path` of `[globus]`, and `endpoint` if it is another machine's collection. Restart then.",
    ),
    "source_not_shared": Code(
        "waiting",
        "the source collection does not share the root's folder",
        "Add the folder to `config-paths` of Globus Connect Personal and restart that, or share it in the collection;"
        " work resumes by itself.",
    ),
    "globus_down": Code(
        "waiting", "Globus does not answer", "Nothing to do here: work resumes by itself when Globus is back."
    ),
    "globus_throttled": Code("waiting", "Globus asked us to slow down", "Nothing to do: work resumes by itself."),
    "globus_login": Code(
        "waiting",
        "Globus does not accept our login",
        "`labferry login globus` logs in, or says exactly what is missing; with client credentials correct `client_id`"
        " and the client secret file. Work resumes by itself.",
    ),
    "globus_tokens": Code(
        "waiting",
        "the login to Globus cannot be kept",
        "Make room in the state directory, or give it to the service user; work resumes by itself.",
    ),
    "globus_busy": Code(
        "waiting",
        "too many transfers of this application are pending",
        "Nothing to do: work resumes by itself when some have ended.",
    ),
    "transfer_conflict": Code(
        "waiting", "Globus still carries a transfer of the same files", "Nothing to do: it is waited for."
    ),
    "transfer_ending": Code(
        "waiting", "a transfer has not quite ended", "Nothing to do: it is asked again within seconds."
    ),
    "in_batch": Code(
        "waiting", "the session waits for a place in a transfer", "Nothing to do: the next transfer takes it along."
    ),
    "not_observed": Code(
        "waiting",
        "Alyx has not moved the files to the server yet",
        "Nothing to do here: look at Alyx' own nightly transfer if it takes longer than usual.",
    ),
    "journal_full": Code(
        "waiting",
        "the state directory is full, or cannot be written",
        "Make room on the file system of `state_dir`, or mend its disk (`dmesg`); work resumes by itself.",
    ),
    "in_flight": Code("waiting", "the archive is moving the bytes", "Nothing to do."),
    "replacing": Code(
        "waiting",
        "content in the archives is being replaced, step by step",
        "Nothing to do: archives first, then Alyx. `labferry show SESSION` says what each of its jobs waits for.",
    ),
    "root_unknown": Code(
        "waiting", "its root is not configured any more", "Configure the root again under its old name."
    ),
    "source_missing": Code(
        "waiting",
        "the session's folder is not there",
        "Mount the root, or put the folder back; work resumes by itself.",
    ),
    # files: this one is left out, the rest proceeds
    "not_utf8": Code("file", "the name is not UTF-8", "Rename the file."),
    "unsafe_name": Code(
        "file",
        "Alyx would change this name silently",
        "Use only letters, digits, `_`, `.` and `-` in the names of folders and files.",
    ),
    "name_too_long": Code("file", "the name, or its folder's, is too long for Alyx", "Shorten it."),
    "out_of_scope": Code(
        "file", "only raw data is registered", "Set `[registration] scope`, or `labferry register SESSION --file NAME`."
    ),
    "refused_by_alyx": Code(
        "file", "Alyx does not take the file", "Read the message, correct the file, then `labferry retry SESSION`."
    ),
    "no_pattern": Code(
        "file",
        "no registration pattern asks for it",
        "Add a pattern to `[registration] patterns` if it should be registered.",
    ),
    "excluded_suffix": Code("file", "its suffix is excluded", "See `[registration] exclude_suffixes`."),
    "no_dataset_type": Code("file", "no dataset type fits", "Add a dataset type in Alyx."),
    "ambiguous_dataset_type": Code(
        "file", "several dataset types fit", "Narrow the patterns of the dataset types in Alyx."
    ),
    "no_data_format": Code("file", "no data format has this extension", "Add the data format in Alyx."),
    "not_registered": Code("file", "this root is archived without registration", "Nothing to do."),
    "about_session": Code("file", "it tells of the session: a flag, or the status of a device", "Nothing to do."),
    "removed": Code("file", "removed from the folder after it was registered or archived", "Nothing to do."),
    "removed_unarchived": Code(
        "file",
        "removed from the folder before every archive had it",
        "Nothing to do if it was replaced by another file (`.bin` by `.cbin`). Otherwise put it back: not every archive"
        " has it.",
    ),
    "not_regular": Code("file", "not a regular file", "Links, pipes and devices are never followed or read."),
    "file_unreadable": Code("file", "the file cannot be read", "Give the service user read permission."),
    # detect: why a folder is not, or not yet, a finished session
    "waiting_signal": Code(
        "detect",
        "no completion signal yet",
        "Nothing to do while it is recorded or copied. If all of it is there: `touch SESSION/raw_session.flag`. Without"
        " this flag it is complete when its experiment description names tasks and each of them has its"
        ' `SESSION_END_TIME`, unless the root has `completion = "flag"`.',
    ),
    "waiting_device": Code(
        "detect",
        "a device's files are not all copied",
        "Look at the copy on that device's computer. If nothing will come from it, remove the device's files from"
        " `_devices`.",
    ),
    "waiting_collection": Code(
        "detect",
        "a folder that the experiment description names is missing",
        'Copy it. If nothing was recorded there, take it out of the description, or set `completion = "flag"` of the'
        " root.",
    ),
    "waiting_size": Code(
        "detect",
        "a SpikeGLX recording is not whole",
        "Nothing to do while it is copied or compressed. If that broke off, copy it again, or set"
        ' `completion = "flag"` of the root.',
    ),
    "settling": Code(
        "detect",
        "files still change",
        "Nothing to do: it is taken when nothing has changed for the quiet period.",
    ),
    "temporary_files": Code(
        "detect", "files carry temporary names", "Nothing to do while a copy runs; remove what an aborted copy left."
    ),
    "signal_before_data": Code(
        "detect", "the completion signal came before the first file", "Nothing to do: it is taken when the files come."
    ),
    "never_settles": Code("detect", "files change without end", "Find the program that still writes into this folder."),
    "not_a_session": Code(
        "detect",
        "the name does not follow the layout",
        "Rename the folder as the rule says, or leave it: it is not picked up.",
    ),
    # history: sessions that were there before us
    "history_unknown": Code(
        "history",
        "Alyx does not have the session",
        "`labferry backlog release` registers such sessions, in portions; `labferry backlog ignore` leaves them alone.",
    ),
    "history_differs": Code(
        "history",
        "Alyx does not have all of its files as they are here",
        "`labferry backlog release` registers what is missing, in portions, and overwrites nothing.",
    ),
    "history_unarchived": Code(
        "history",
        "Alyx has all of it, and does not know of a copy in every archive",
        "`labferry backlog release SESSION` archives what is missing there.",
    ),
    "history_unregistered": Code(
        "history",
        "its root is archived without registration, so nobody knows what of it is archived",
        "`labferry backlog release` archives such sessions, in portions; `labferry backlog ignore` leaves them alone.",
    ),
    "history_ignored": Code(
        "history", "it is left alone", "`labferry backlog release SESSION` makes an ordinary session of it."
    ),
    # remarks: nothing stands still, worth knowing all the same
    "no_behaviour": Code(
        "remark", "no behaviour data", "If a task was run, copy its folder from the rig: it is registered then."
    ),
    "concurrent_creator": Code(
        "remark",
        "another program created the session at the same moment",
        "Let only one program create sessions: set `create_sessions = false` here if the other one shall.",
    ),
    "added_in_alyx": Code("remark", "the session in Alyx has more than we wrote", "Nothing to do: it stays as it is."),
    "unknown_location": Code(
        "remark", "the rig is not known in Alyx", "Add the location in Alyx, then enter it for the session."
    ),
    "no_video": Code("remark", "no video data", "If videos were recorded, copy them: they are registered then."),
    "test_user": Code(
        "remark", "the task was run by the rig's test user", "Add the real users to the session in Alyx."
    ),
    "unknown_recorder": Code(
        "remark", "who ran the task is not known in Alyx", "Correct the session's users in Alyx, or create the user."
    ),
    "weight_skipped": Code("remark", "no weighing is sent", "If the animal was weighed, enter it in Alyx."),
    "water_skipped": Code("remark", "no water administration is sent", "If water was given, enter it in Alyx."),
    "odd_description": Code(
        "remark", "the experiment description is read otherwise than it is written", "Correct it if that is wrong."
    ),
    "odd_settings": Code("remark", "a part of the task settings is not used", "Correct it if it is needed."),
    "odd_trials": Code("remark", "a part of the trial data is not used", "Look at the file if trials are missing."),
    "renamed": Code(
        "remark", "a file of an old rig got the name it has today", "Nothing to do: `compat_renames` asks for it."
    ),
    "old_name": Code(
        "remark",
        "a file of an old rig keeps its old name",
        "Rename it by hand if pipelines need the new name, then `labferry register SESSION`.",
    ),
    "odd_narrative": Code("remark", "the narrative is not sent", "Shorten it, or enter it in Alyx."),
}
