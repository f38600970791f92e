-- What is complete, or was taken over: since when, and what the last look at every file of it found; where a folder was
-- closed, nothing was seen that could be relied upon.
-- name: of_root
SELECT session.id, session.path, coalesce(session.complete_at, session.history_at, session.first_seen_at) AS since,
  CASE WHEN session.closed_folder IS NULL THEN revisit.folders END AS folders, revisit.looked_at
FROM session LEFT JOIN revisit ON revisit.session_id = session.id
WHERE session.root = :root AND (session.complete_at IS NOT NULL AND session.history IS NULL OR session.history = 'adopted')

-- name: looked
INSERT INTO revisit (session_id, folders, looked_at) VALUES (:id, :folders, :now)
ON CONFLICT (session_id) DO UPDATE SET folders = excluded.folders, looked_at = excluded.looked_at

-- A file that cannot be sent as it is, and might be as it will be, matters like one that is sent.
-- name: listed
SELECT id, path, size, mtime_ns, ctime_ns,
  (md5 IS NOT NULL OR fate = 'dataset' OR code IN ('not_regular', 'file_unreadable')) AS matters, taken_over
FROM file WHERE session_id = :session_id AND code NOT IN ('removed', 'removed_unarchived')

-- name: note
UPDATE file SET size = :size, mtime_ns = :mtime_ns, ctime_ns = :ctime_ns WHERE id = :id

-- name: closed
UPDATE session SET closed_folder = :folder, closed_why = :why, updated_at = :now
WHERE id = :id AND (closed_folder IS NOT :folder OR closed_why <> :why)

-- name: opened
UPDATE session SET closed_folder = NULL, closed_why = '', updated_at = :now
WHERE id = :id AND closed_folder IS NOT NULL

-- name: sign
UPDATE session SET signature = :signature WHERE id = :id
