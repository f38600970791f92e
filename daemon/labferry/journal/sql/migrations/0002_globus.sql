-- Globus: tasks of the service, each carrying the files of one or more transfers, and what the first look at a
-- destination found there.

CREATE TABLE task (
  id INTEGER PRIMARY KEY,
  target TEXT NOT NULL,
  batch TEXT NOT NULL UNIQUE,            -- in its label: the second way to find it again
  label TEXT NOT NULL,
  submission_id TEXT NOT NULL UNIQUE,    -- committed before the task is submitted: the first way
  source_endpoint TEXT NOT NULL,
  destination_endpoint TEXT NOT NULL,
  globus_id TEXT UNIQUE,                 -- NULL until the service answered
  state TEXT NOT NULL CHECK (state IN ('submitting', 'active', 'cancelling', 'succeeded', 'failed')),
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0,   -- grows as long as anything moves
  progress_at REAL NOT NULL,
  fault TEXT NOT NULL DEFAULT '',        -- what the service complains about now, or why the task failed
  fault_text TEXT NOT NULL DEFAULT '',
  evidence TEXT NOT NULL DEFAULT '',     -- the service's own counters at the end, JSON
  created_at REAL NOT NULL,
  updated_at REAL NOT NULL,
  ended_at REAL,
  CHECK ((state IN ('succeeded', 'failed')) = (ended_at IS NOT NULL)),
  CHECK (globus_id IS NOT NULL OR state IN ('submitting', 'failed'))
) STRICT;
CREATE INDEX task_open ON task (target) WHERE ended_at IS NULL;

ALTER TABLE transfer ADD COLUMN source TEXT;   -- the session folder as its collection names it
ALTER TABLE transfer ADD COLUMN endpoint TEXT; -- the collection that `base` is in: what was looked at, and is sent to
ALTER TABLE transfer ADD COLUMN alone INTEGER NOT NULL DEFAULT 0; -- so many tasks with it failed: it gets its own one
ALTER TABLE transfer ADD COLUMN trouble TEXT NOT NULL DEFAULT ''; -- how its last task ended, until its job has heard
ALTER TABLE transfer ADD COLUMN trouble_text TEXT NOT NULL DEFAULT '';

ALTER TABLE item ADD COLUMN ours INTEGER;          -- 1: nothing stood in its place at the first look (ruling 18)
ALTER TABLE item ADD COLUMN sent INTEGER NOT NULL DEFAULT 0; -- 1: a task was made with it: there may be part of it
ALTER TABLE item ADD COLUMN task_id INTEGER REFERENCES task (id);
ALTER TABLE item ADD COLUMN arrived_how TEXT;      -- what the service says: sent, or found equal; not yet the evidence
CREATE INDEX item_of_task ON item (task_id) WHERE task_id IS NOT NULL;
