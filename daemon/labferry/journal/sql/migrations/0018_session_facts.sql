-- What more may be true of a session, each fact with its own event.

ALTER TABLE session ADD COLUMN excluded_at REAL;                            -- its root leaves its subject out since then
ALTER TABLE session ADD COLUMN closed_folder BLOB;                          -- cannot be looked into, since it was complete
ALTER TABLE session ADD COLUMN closed_why TEXT NOT NULL DEFAULT '';         -- what the system said about that folder
ALTER TABLE session ADD COLUMN moved_from INTEGER REFERENCES session (id);  -- which it was before it was renamed

CREATE INDEX session_is_excluded ON session (root) WHERE excluded_at IS NOT NULL;
CREATE INDEX session_gone ON session (vanished_at) WHERE vanished_at IS NOT NULL;
CREATE INDEX session_unsignalled ON session (root, id)
  WHERE history IN ('unasked', 'backlog') AND signal_seen_at IS NULL;

CREATE TRIGGER session_excluded AFTER UPDATE OF excluded_at ON session
WHEN (OLD.excluded_at IS NULL) <> (NEW.excluded_at IS NULL)
BEGIN
  INSERT INTO event (at, session_id, action)
  VALUES (NEW.updated_at, NEW.id, CASE WHEN NEW.excluded_at IS NULL THEN 'included' ELSE 'excluded' END);
END;

CREATE TRIGGER session_closed AFTER UPDATE OF closed_folder ON session
WHEN (OLD.closed_folder IS NULL) <> (NEW.closed_folder IS NULL) AND NEW.vanished_at IS NULL
BEGIN
  INSERT INTO event (at, session_id, action)
  VALUES (NEW.updated_at, NEW.id, CASE WHEN NEW.closed_folder IS NULL THEN 'readable' ELSE 'unreadable' END);
END;

-- As before. What is left out stands where it was when it was finished as far as Alyx goes, and is nobody's business;
-- a folder that was closed later needs a person and takes nothing back.
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
    WHEN excluded_at IS NOT NULL AND (registered_at IS NULL OR complete_at IS NULL) THEN 'ignored'
    WHEN vanished_at IS NOT NULL AND excluded_at IS NULL THEN 'vanished'
    WHEN history IS NOT NULL THEN 'backlog'
    WHEN complete_at IS NULL THEN 'settling'
    WHEN registered_at IS NOT NULL THEN 'registered'
    ELSE 'complete'
  END AS state,
  (history IS NULL AND excluded_at IS NULL
    AND (blocked_job IS NOT NULL OR rejected > 0 OR closed_folder IS NOT NULL)) AS attention
FROM fact;
