-- The journal: what was seen, what is to be done, what was done.
-- Times are seconds since the epoch. Paths are bytes, relative to their root or session folder.
-- Illegal states are refused by the tables themselves; every transition writes its event by trigger.

CREATE TABLE instance (          -- one row per life of the daemon; claims belong to one of these, not to a clock
  id TEXT PRIMARY KEY,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,
  started_at REAL NOT NULL,
  stopped_at REAL                -- NULL after an unclean stop
) STRICT;

CREATE TABLE root (
  name TEXT PRIMARY KEY,         -- the stable identity; the path may change
  path BLOB NOT NULL,
  layout TEXT NOT NULL,
  first_contact_at REAL NOT NULL
) STRICT;

CREATE TABLE session (
  id INTEGER PRIMARY KEY,
  root TEXT NOT NULL REFERENCES root (name),
  path BLOB NOT NULL,
  layout TEXT NOT NULL,
  subject TEXT NOT NULL,
  date TEXT NOT NULL,
  number INTEGER NOT NULL,
  lab TEXT,                      -- resolved from the subject
  repository TEXT,               -- the lab's data repository on this server
  eid TEXT,
  first_seen_at REAL NOT NULL,
  signal TEXT,                   -- the completion signal, once seen: other software deletes flags
  signal_seen_at REAL,
  signature BLOB,                -- of the folder when it was last looked into
  signature_at REAL,
  wait_code TEXT,                -- what detection waits for
  wait_why TEXT,
  wait_since REAL,
  complete_at REAL,
  generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0),
  sealed_generation INTEGER NOT NULL DEFAULT 0,
  held_at REAL,
  vanished_at REAL,
  updated_at REAL NOT NULL,
  UNIQUE (root, path),
  CHECK ((signal IS NULL) = (signal_seen_at IS NULL)),
  CHECK (sealed_generation <= generation)
) STRICT;

CREATE INDEX session_unsettled ON session (root) WHERE complete_at IS NULL;

CREATE TABLE alyx_key (          -- one folder per subject, date and number: who may write this session to Alyx
  subject TEXT NOT NULL,
  date TEXT NOT NULL,
  number INTEGER NOT NULL,
  session_id INTEGER NOT NULL UNIQUE REFERENCES session (id),
  PRIMARY KEY (subject, date, number)
) STRICT;

CREATE TABLE file (              -- the manifest: every file of a session with its fate, and the checksum of its version
  id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL REFERENCES session (id),
  path BLOB NOT NULL,
  generation INTEGER NOT NULL,   -- in which it was added or last changed
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  md5 TEXT CHECK (md5 IS NULL OR length(md5) = 32),
  fate TEXT NOT NULL CHECK (fate IN ('dataset', 'unmatched', 'excluded', 'rejected')),
  code TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  dataset_id TEXT,
  registered_hash TEXT,          -- what we last wrote to Alyx under this name
  registered_at REAL,
  UNIQUE (session_id, path)
) STRICT;
CREATE INDEX file_rejected ON file (session_id) WHERE fate = 'rejected';

CREATE TABLE file_record (       -- where Alyx says a dataset is
  id TEXT PRIMARY KEY,
  file_id INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
  repository TEXT NOT NULL,
  relative_path TEXT NOT NULL,
  on_disk INTEGER NOT NULL CHECK (on_disk IN (0, 1)),
  UNIQUE (file_id, repository)
) STRICT;

CREATE TABLE job (
  id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL REFERENCES session (id),
  kind TEXT NOT NULL CHECK (kind IN ('register', 'archive', 'note')),
  target TEXT NOT NULL DEFAULT '',         -- of an archive job
  dedupe TEXT NOT NULL DEFAULT '',         -- request id of a note
  generation INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'waiting', 'blocked', 'done', 'cancelled', 'superseded')),
  stage TEXT NOT NULL CHECK (stage IN ('resolve', 'seal', 'register', 'archive', 'note')),
  attempts INTEGER NOT NULL DEFAULT 0,     -- executions of any outcome
  failures INTEGER NOT NULL DEFAULT 0,     -- unexpected errors in a row
  outages INTEGER NOT NULL DEFAULT 0,      -- waits for a dependency in a row
  not_before REAL NOT NULL,
  bytes_left INTEGER NOT NULL DEFAULT 0,   -- remaining work; the least goes first
  code TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  hint TEXT NOT NULL DEFAULT '',
  claimed_by TEXT REFERENCES instance (id),
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  finished_at REAL,
  superseded_at REAL,
  CHECK ((state = 'running') = (claimed_by IS NOT NULL)),
  CHECK ((state = 'superseded') = (superseded_at IS NOT NULL)),
  CHECK ((state IN ('done', 'cancelled', 'superseded')) = (finished_at IS NOT NULL)),
  CHECK ((kind = 'archive') = (target <> ''))
) STRICT;
-- Said with columns that stay as they are when a job moves: an index that names `state` is written at every move.
CREATE UNIQUE INDEX one_live_job ON job (session_id, kind, target, dedupe) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX one_job_per_generation ON job (session_id, kind, target, dedupe, generation)
  WHERE superseded_at IS NULL;
CREATE INDEX job_of_session ON job (session_id, kind, generation);  -- nothing in it changes when a job moves
CREATE INDEX job_unfinished ON job (state, stage, not_before)
  WHERE state IN ('queued', 'running', 'waiting', 'blocked');

CREATE TABLE attempt (
  job_id INTEGER NOT NULL REFERENCES job (id),
  number INTEGER NOT NULL,       -- what the job's `attempts` became when it was claimed
  instance_id TEXT NOT NULL REFERENCES instance (id),
  stage TEXT NOT NULL,
  started_at REAL NOT NULL,
  ended_at REAL,
  outcome TEXT CHECK (outcome IN ('done', 'waiting', 'retry', 'blocked', 'lost')),
  code TEXT NOT NULL DEFAULT '',
  detail TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (job_id, number),
  CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_open ON attempt (job_id) WHERE ended_at IS NULL;

CREATE TABLE step (              -- the outbox: what is sent is committed before it is sent, the answer after
  id INTEGER PRIMARY KEY,
  job_id INTEGER NOT NULL REFERENCES job (id),
  name TEXT NOT NULL,
  request TEXT NOT NULL,
  sent_at REAL NOT NULL,
  answer TEXT,
  answered_at REAL,
  UNIQUE (job_id, name),
  CHECK ((answer IS NULL) = (answered_at IS NULL))
) STRICT;

CREATE TABLE transfer (          -- the bytes of one archive job on their way to one target
  id INTEGER PRIMARY KEY,
  job_id INTEGER NOT NULL UNIQUE REFERENCES job (id),
  target TEXT NOT NULL,
  base BLOB NOT NULL,            -- the folder at the target that destinations are relative to
  batch TEXT NOT NULL UNIQUE,    -- names our own temporary files and tasks
  state TEXT NOT NULL CHECK (state IN ('active', 'verified', 'failed')),
  ticket TEXT,                   -- the archive's own name for it (a Globus task id)
  bytes_total INTEGER NOT NULL,
  files_total INTEGER NOT NULL,
  bytes_done INTEGER NOT NULL DEFAULT 0,
  files_done INTEGER NOT NULL DEFAULT 0,
  started_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  ended_at REAL
) STRICT;

CREATE TABLE item (              -- one file of a transfer; verified_at is the evidence
  transfer_id INTEGER NOT NULL REFERENCES transfer (id),
  file_id INTEGER NOT NULL REFERENCES file (id),
  destination BLOB NOT NULL,
  size INTEGER NOT NULL,
  md5 TEXT NOT NULL,
  verified_at REAL,
  verified_how TEXT,
  marked_at REAL,                -- Alyx was told that the copy exists
  PRIMARY KEY (transfer_id, file_id),
  UNIQUE (transfer_id, destination),
  CHECK (marked_at IS NULL OR verified_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (             -- append-only, written by the triggers below
  id INTEGER PRIMARY KEY,        -- never given twice: the newest event is never trimmed
  at REAL NOT NULL,
  session_id INTEGER,
  job_id INTEGER,
  action TEXT NOT NULL,
  from_state TEXT,
  to_state TEXT,
  code TEXT NOT NULL DEFAULT ''
) STRICT;
-- No index by session: only `labferry history` asks so, and every transition would have to write it.

CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event
BEGIN
  SELECT RAISE (ABORT, 'events are never changed');
END;

CREATE TRIGGER session_found AFTER INSERT ON session
BEGIN
  INSERT INTO event (at, session_id, action, to_state) VALUES (NEW.updated_at, NEW.id, 'found', 'settling');
END;

CREATE TRIGGER session_signal AFTER UPDATE OF signal_seen_at ON session
WHEN NEW.signal_seen_at IS NOT OLD.signal_seen_at
BEGIN
  INSERT INTO event (at, session_id, action, code) VALUES (NEW.updated_at, NEW.id, 'signal', coalesce(NEW.signal, ''));
END;

CREATE TRIGGER session_complete AFTER UPDATE OF complete_at ON session
WHEN OLD.complete_at IS NULL AND NEW.complete_at IS NOT NULL
BEGIN
  INSERT INTO event (at, session_id, action, from_state, to_state)
  VALUES (NEW.updated_at, NEW.id, 'complete', 'settling', 'complete');
END;

CREATE TRIGGER session_unsettled AFTER UPDATE OF complete_at ON session
WHEN OLD.complete_at IS NOT NULL AND NEW.complete_at IS NULL
BEGIN
  INSERT INTO event (at, session_id, action, from_state, to_state, code)
  VALUES (NEW.updated_at, NEW.id, 'changed', 'complete', 'settling', coalesce(NEW.wait_code, ''));
END;

CREATE TRIGGER session_sealed AFTER UPDATE OF sealed_generation ON session
WHEN NEW.sealed_generation > OLD.sealed_generation
BEGIN
  INSERT INTO event (at, session_id, action) VALUES (NEW.updated_at, NEW.id, 'sealed');
END;

CREATE TRIGGER session_vanished AFTER UPDATE OF vanished_at ON session
WHEN (OLD.vanished_at IS NULL) <> (NEW.vanished_at IS NULL)
BEGIN
  INSERT INTO event (at, session_id, action)
  VALUES (NEW.updated_at, NEW.id, CASE WHEN NEW.vanished_at IS NULL THEN 'returned' ELSE 'vanished' END);
END;

CREATE TRIGGER session_held AFTER UPDATE OF held_at ON session
WHEN (OLD.held_at IS NULL) <> (NEW.held_at IS NULL)
BEGIN
  INSERT INTO event (at, session_id, action)
  VALUES (NEW.updated_at, NEW.id, CASE WHEN NEW.held_at IS NULL THEN 'released' ELSE 'held' END);
END;

CREATE TRIGGER job_created AFTER INSERT ON job
BEGIN
  INSERT INTO event (at, session_id, job_id, action, to_state, code)
  VALUES (NEW.updated_at, NEW.session_id, NEW.id, iif (NEW.stage = NEW.kind, NEW.kind, NEW.kind || ':' || NEW.stage),
          NEW.state, NEW.code);
END;

CREATE TRIGGER job_moved AFTER UPDATE OF state, stage, code ON job
WHEN NEW.state IS NOT OLD.state OR NEW.stage IS NOT OLD.stage OR NEW.code IS NOT OLD.code
BEGIN
  INSERT INTO event (at, session_id, job_id, action, from_state, to_state, code)
  VALUES (NEW.updated_at, NEW.session_id, NEW.id, iif (NEW.stage = NEW.kind, NEW.kind, NEW.kind || ':' || NEW.stage),
          OLD.state, NEW.state, NEW.code);
END;

CREATE TRIGGER transfer_moved AFTER UPDATE OF state ON transfer
WHEN NEW.state IS NOT OLD.state
BEGIN
  INSERT INTO event (at, session_id, job_id, action, from_state, to_state)
  SELECT NEW.updated_at, job.session_id, job.id, 'transfer', OLD.state, NEW.state FROM job WHERE job.id = NEW.job_id;
END;

-- A session's state is the furthest fact its current generation reached; it is derived here and stored nowhere.
CREATE VIEW session_status AS
WITH fact AS (
  SELECT
    session.*,
    (SELECT max (job.finished_at) FROM job
      WHERE job.session_id = session.id AND job.kind = 'register' AND job.generation = session.generation
        AND job.state = 'done') AS registered_at,
    (SELECT CASE WHEN count (*) = sum (job.state = 'done') THEN max (job.finished_at) END FROM job
      WHERE job.session_id = session.id AND job.kind = 'archive' AND job.generation = session.generation
        AND job.state <> 'superseded') AS archived_at,
    (SELECT min (job.id) FROM job WHERE job.session_id = session.id AND job.state = 'blocked') AS blocked_job,
    (SELECT count (*) FROM file WHERE file.session_id = session.id AND file.fate = 'rejected') AS rejected
  FROM session
)
SELECT
  fact.*,
  CASE
    WHEN archived_at IS NOT NULL AND complete_at IS NOT NULL THEN 'archived'
    WHEN held_at IS NOT NULL THEN 'held'
    WHEN vanished_at IS NOT NULL THEN 'vanished'
    WHEN complete_at IS NULL THEN 'settling'
    WHEN registered_at IS NOT NULL THEN 'registered'
    ELSE 'complete'
  END AS state,
  (blocked_job IS NOT NULL OR rejected > 0) AS attention
FROM fact;
