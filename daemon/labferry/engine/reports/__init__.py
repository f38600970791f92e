"""What the daemon can tell an operator: functions from the journal and the live state to plain JSON values.

Room: engine. Looks only: nothing is written, Alyx and the archives are not asked, and no lane is waited for, so
that an answer comes at once however busy the daemon is. Two look at the disk: `explain` and `match`. What the
functions return is the documented interface of `docs/control.md`; it only grows.

* `live`: what the journal does not know: lanes, roots, the log.
* `places`, `find`: from what an operator types to a folder or a session.
* `status`, `health`, `metrics`: the promise at a glance.
* `sessions`, `jobs`, `history`, `logs`: lists, and one session in full.
* `explain`, `explain_session`, `explain_file`, `verdicts`: why a folder is where it is.
* `match`: which files of a folder are datasets.
"""
