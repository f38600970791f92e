-- Sessions that were old when their root was met (ruling 2): Alyx is asked what it has of them, nothing is sent.

ALTER TABLE session ADD COLUMN history TEXT CHECK (history IN ('unasked', 'adopted', 'backlog', 'ignored'));
ALTER TABLE session ADD COLUMN history_code TEXT NOT NULL DEFAULT '';  -- what differs
ALTER TABLE session ADD COLUMN history_why TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN history_at REAL;  -- it began as history: stays when an operator makes it ordinary

ALTER TABLE file ADD COLUMN taken_over INTEGER NOT NULL DEFAULT 0;  -- 1: hash and size are Alyx', the file was not read

DROP INDEX session_unsettled;
CREATE INDEX session_unsettled ON session (root) WHERE complete_at IS NULL AND history IS NULL;
CREATE INDEX session_unasked ON session (subject) WHERE history = 'unasked';
CREATE INDEX session_backlog ON session (date) WHERE history = 'backlog';

DROP TRIGGER session_found;
CREATE TRIGGER session_found AFTER INSERT ON session
BEGIN
  INSERT INTO event (at, session_id, action, to_state, code)
  VALUES (NEW.updated_at, NEW.id, 'found', coalesce(NEW.history, 'settling'), NEW.history_code);
END;

CREATE TRIGGER session_history AFTER UPDATE OF history ON session
WHEN NEW.history IS NOT OLD.history
BEGIN
  INSERT INTO event (at, session_id, action, from_state, to_state, code)
  VALUES (NEW.updated_at, NEW.id, 'history', coalesce(OLD.history, 'settling'), coalesce(NEW.history, 'settling'),
          NEW.history_code);
END;

-- As before, with history: an adopted session that was moved away later is no loss, one of the backlog is.
DROP VIEW session_status;
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
    WHEN history IN ('adopted', 'ignored') THEN history
    WHEN vanished_at IS NOT NULL THEN 'vanished'
    WHEN history IS NOT NULL THEN 'backlog'
    WHEN complete_at IS NULL THEN 'settling'
    WHEN registered_at IS NOT NULL THEN 'registered'
    ELSE 'complete'
  END AS state,
  (history IS NULL AND (blocked_job IS NOT NULL OR rejected > 0)) AS attention
FROM fact;
