-- What we last wrote into a session's record in Alyx, and what is worth knowing about the record.

ALTER TABLE session ADD COLUMN created_here INTEGER NOT NULL DEFAULT 0;  -- our POST created it in Alyx
ALTER TABLE session ADD COLUMN written TEXT NOT NULL DEFAULT '{}';       -- fields as we wrote them last, JSON

CREATE TABLE remark (
  session_id INTEGER NOT NULL REFERENCES session (id),
  code TEXT NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (session_id, code, text)
) STRICT, WITHOUT ROWID;
