-- Globus: since when a task has met the same fault, and directories made at a destination to see whether one can.

ALTER TABLE task ADD COLUMN fault_since REAL;  -- NULL while all is well; kept when it is cancelled because of the fault

CREATE TABLE probe (
  target TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  path TEXT NOT NULL,
  submission_id TEXT,                          -- of its removal; NULL until one is about to be submitted
  made_at REAL NOT NULL,
  PRIMARY KEY (endpoint, path)
) STRICT, WITHOUT ROWID;
