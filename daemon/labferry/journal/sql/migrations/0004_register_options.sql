-- What an operator asked for with a registration.

ALTER TABLE job ADD COLUMN options TEXT NOT NULL DEFAULT '';  -- JSON; empty where nobody asked for anything special

CREATE TABLE named_file (        -- files that an operator wants registered although no pattern asks for them
  session_id INTEGER NOT NULL REFERENCES session (id),
  path BLOB NOT NULL,
  PRIMARY KEY (session_id, path)
) STRICT, WITHOUT ROWID;
