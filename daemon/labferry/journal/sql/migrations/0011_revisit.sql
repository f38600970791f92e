-- Complete sessions stay under watch (ruling 1): what the last look at every file of one found, for the next life.

CREATE TABLE revisit (
  session_id INTEGER PRIMARY KEY REFERENCES session (id),
  folders BLOB NOT NULL,       -- digest of the times of its folders
  looked_at REAL NOT NULL      -- when every file was looked at
) STRICT;

-- Gigabytes that no rule asks for and none leaves out: is something forgotten?
CREATE INDEX file_large_unmatched ON file (session_id, size) WHERE fate = 'unmatched' AND size >= 1000000000;
CREATE INDEX file_left_behind ON file (session_id) WHERE code = 'removed_unarchived';

CREATE TABLE recovery (        -- a damaged journal that this one took the place of
  at REAL PRIMARY KEY,
  why TEXT NOT NULL,
  kept_as TEXT NOT NULL,       -- where the damaged one is
  backup TEXT NOT NULL,        -- what was restored; empty where the journal began anew
  known_until REAL             -- the last thing the backup knows of
) STRICT;
