-- name: unasked
SELECT id FROM session
WHERE history = 'unasked' AND vanished_at IS NULL AND held_at IS NULL AND excluded_at IS NULL
ORDER BY signal IS NULL, subject, date, number

-- What is left out is not asked about, and cannot be released.
-- name: counts
SELECT history, history_code AS code, count(*) AS sessions FROM session
WHERE history IS NOT NULL AND (:root = '' OR root = :root) AND (:subject = '' OR subject = :subject)
  AND (excluded_at IS NULL OR history IN ('adopted', 'ignored'))
GROUP BY history, history_code ORDER BY history, history_code

-- name: unasked_count
SELECT count(*) FROM session WHERE history = 'unasked' AND excluded_at IS NULL

-- The newest recordings first. What was moved away, is held or left out is left alone.
-- name: select
SELECT * FROM session_status
WHERE history = 'backlog' AND vanished_at IS NULL AND held_at IS NULL AND excluded_at IS NULL
  AND (:root = '' OR root = :root) AND (:subject = '' OR subject = :subject)
ORDER BY date DESC, subject, number, id LIMIT :limit

-- name: judge
UPDATE session SET history = :history, history_code = :code, history_why = :why, history_at = :now,
  lab = coalesce(:lab, lab), eid = coalesce(:eid, eid), updated_at = :now
WHERE id = :id AND history = 'unasked'

-- name: unsignalled
SELECT id, path FROM session INDEXED BY session_unsignalled
WHERE root = :root AND id > :after AND history IN ('unasked', 'backlog') AND signal_seen_at IS NULL
  AND vanished_at IS NULL AND excluded_at IS NULL
ORDER BY id LIMIT :limit

-- name: ask_again
UPDATE session SET history = 'unasked', history_code = '', history_why = '', updated_at = :now
WHERE id = :id AND history IS NOT NULL

-- name: ask_about_root
UPDATE session SET history = 'unasked', history_code = '', history_why = '', updated_at = :now
WHERE history = 'backlog' AND root = :root AND history_code = :code

-- name: ignore
UPDATE session SET history = 'ignored', history_code = :code, history_why = :why, updated_at = :now
WHERE id = :id AND history IS NOT NULL

-- An operator's word is as good as a completion signal: after years the flag of most sessions is gone.
-- name: release
UPDATE session SET history = NULL, history_code = '', history_why = '', signal = coalesce(signal, :signal),
  signal_seen_at = coalesce(signal_seen_at, :now), wait_code = NULL, wait_why = NULL, wait_since = NULL,
  updated_at = :now
WHERE id = :id AND history IS NOT NULL

-- name: forget_taken_over
UPDATE file SET taken_over = 0, md5 = NULL, dataset_id = NULL, registered_hash = NULL, registered_at = NULL
WHERE session_id = :session_id AND taken_over

-- An operator may have released the session in the middle of the question.
-- name: take_over
UPDATE file SET taken_over = 1, md5 = :md5, dataset_id = :dataset_id, registered_hash = :hash, registered_at = :now
WHERE id = :id AND (SELECT history FROM session WHERE session.id = file.session_id) = 'unasked'

-- name: unknown
SELECT path FROM file WHERE session_id = :session_id AND fate = 'dataset' AND NOT taken_over ORDER BY path

-- name: existing_at
SELECT file.id FROM file JOIN file_record ON file_record.file_id = file.id
WHERE file.session_id = :session_id AND file.taken_over AND file_record.repository = :repository
  AND file_record.on_disk

-- name: was_live
UPDATE session SET history = NULL, history_code = '', history_why = '', history_at = NULL, updated_at = :now
WHERE id = :id AND history = 'unasked'
