-- name: meet_root
INSERT INTO root (name, path, layout, first_contact_at) VALUES (:name, :path, :layout, :now)
ON CONFLICT (name) DO UPDATE SET path = excluded.path, layout = excluded.layout
RETURNING first_contact_at

-- name: all
SELECT * FROM session_status ORDER BY id

-- name: of_root
SELECT * FROM session_status WHERE root = :root ORDER BY id

-- name: select
SELECT * FROM session_status
WHERE (:root = '' OR root = :root) AND (:subject = '' OR subject = :subject) AND (:since = '' OR date >= :since)
ORDER BY id

-- name: unsettled
SELECT * FROM session_status
WHERE root = :root AND complete_at IS NULL AND history IS NULL AND vanished_at IS NULL AND excluded_at IS NULL
ORDER BY id

-- name: folders
SELECT id, path, subject, vanished_at FROM session WHERE root = :root

-- name: get
SELECT * FROM session_status WHERE id = :id

-- name: at
SELECT * FROM session_status WHERE root = :root AND path = :path

-- name: by_key
SELECT * FROM session_status WHERE subject = :subject AND date = :date AND number = :number ORDER BY id

-- A folder that is given another name keeps its files as they are, change times included: so does its signature.
-- name: same_files
SELECT * FROM session_status
WHERE signature = (SELECT signature FROM session WHERE id = :id) AND id <> :id ORDER BY vanished_at IS NULL DESC, id

-- name: with_signature
SELECT * FROM session_status WHERE signature = :signature AND id <> :id ORDER BY id

-- name: gone
SELECT id FROM session WHERE vanished_at IS NOT NULL ORDER BY vanished_at DESC LIMIT :limit

-- name: moved_to
SELECT * FROM session_status WHERE moved_from = :id AND vanished_at IS NULL ORDER BY id DESC

-- name: was
UPDATE session SET moved_from = :moved_from, updated_at = :now WHERE id = :id

-- name: by_eid
SELECT * FROM session_status WHERE eid = :eid ORDER BY id

-- While this is the same, the counts are: no session and no job moved, and no other files are rejected.
-- name: what_counts
SELECT (SELECT max(id) FROM event), count(*), total(session_id) FROM file WHERE fate = 'rejected'

-- name: counts
SELECT state, count(*) AS sessions, sum(attention) AS attention FROM session_status GROUP BY state

-- '0' is the character after '/': the range is everything below the folder.
-- name: counts_below
SELECT state, count(*) AS sessions FROM session_status
WHERE root = :root AND (:folder = X'' OR path >= CAST(:folder || '/' AS BLOB) AND path < CAST(:folder || '0' AS BLOB))
GROUP BY state

-- Of every reason as many sessions as are named, those that wait longest first.
-- name: stuck
SELECT code, sessions, since, example FROM (
  SELECT coalesce(wait_code, '') AS code, wait_since AS since, id AS example,
    count(*) OVER (PARTITION BY wait_code) AS sessions,
    row_number() OVER (PARTITION BY wait_code ORDER BY wait_since, id) AS place
  FROM session
  WHERE complete_at IS NULL AND history IS NULL AND vanished_at IS NULL AND held_at IS NULL AND excluded_at IS NULL
    AND wait_since < :before AND root IN (SELECT value FROM json_each(:roots)))
WHERE place <= :named ORDER BY since, example

-- name: device_of_root
SELECT device FROM root WHERE name = :name

-- name: root_is_on
UPDATE root SET device = :device WHERE name = :name

-- name: root_paths
SELECT name, path FROM root

-- name: counts_by_root
SELECT root, count(*) AS sessions FROM session WHERE vanished_at IS NULL GROUP BY root

-- name: insert
INSERT INTO session (root, path, layout, subject, date, number, lab, history, history_code, history_why, history_at,
  first_seen_at, updated_at)
VALUES (:root, :path, :layout, :subject, :date, :number, :lab, :history, :history_code, :history_why,
  CASE WHEN :history IS NOT NULL THEN :now END, :now, :now)

-- name: signal
UPDATE session SET signal = :signal, signal_seen_at = :now, updated_at = :now
WHERE id = :id AND signal_seen_at IS NULL

-- It waits for the same thing as before when the code is the same, or another name of the same: a copy gives a name
-- that is temporary to one file after the other, and the missing folders come one after the other. What Alyx has keeps
-- the signature by which it is known under a new name until it is complete again: in its place may be another one.
-- name: looked
UPDATE session SET signature = CASE WHEN eid IS NULL THEN coalesce(:signature, signature) ELSE signature END,
  signature_at = :now, wait_code = :code, wait_why = :why,
  wait_since = CASE
    WHEN wait_code IS :code THEN wait_since
    WHEN wait_code IN ('settling', 'temporary_files') AND :code IN ('settling', 'temporary_files') THEN wait_since
    WHEN wait_code IN ('waiting_collection', 'no_video', 'no_behaviour')
      AND :code IN ('waiting_collection', 'no_video', 'no_behaviour') THEN wait_since
    ELSE :now END,
  updated_at = :now
WHERE id = :id

-- name: complete
UPDATE session SET complete_at = :now, generation = generation + 1, signature = :signature, signature_at = :now,
  wait_code = NULL, wait_why = NULL, wait_since = NULL, closed_folder = NULL, closed_why = '', updated_at = :now
WHERE id = :id AND complete_at IS NULL

-- name: next_generation
UPDATE session SET generation = generation + 1, updated_at = :now WHERE id = :id AND complete_at IS NOT NULL

-- name: unsettle
UPDATE session SET complete_at = NULL, wait_code = 'changed', wait_why = :why, wait_since = :now, updated_at = :now
WHERE id = :id AND complete_at IS NOT NULL

-- A root that registers from now on: what is complete without a registration begins anew.
-- name: unsettle_unregistered
UPDATE session SET complete_at = NULL, wait_code = 'changed', wait_why = :why, wait_since = :now, updated_at = :now
WHERE root = :root AND complete_at IS NOT NULL AND excluded_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM job WHERE job.session_id = session.id
  AND job.kind = 'register' AND job.generation = session.generation AND job.state <> 'superseded')

-- name: sealed
UPDATE session SET sealed_generation = :generation, updated_at = :now WHERE id = :id AND generation = :generation

-- name: resolved
UPDATE session SET lab = :lab, repository = :repository, updated_at = :now WHERE id = :id

-- name: recorded
UPDATE session SET eid = :eid, written = :written, created_here = :created_here, updated_at = :now WHERE id = :id

-- name: forget_remarks
DELETE FROM remark WHERE session_id = :id

-- name: remark
INSERT OR IGNORE INTO remark (session_id, code, text) VALUES (:id, :code, :text)

-- name: remarks
SELECT code, text FROM remark WHERE session_id = :id ORDER BY code, text

-- What is gone is closed to nobody.
-- name: vanished
UPDATE session SET vanished_at = :now, closed_folder = NULL, closed_why = '', updated_at = :now
WHERE id = :id AND vanished_at IS NULL

-- A folder that was only passing by is looked at anew should it ever come back.
-- name: forget_passing
UPDATE session SET complete_at = NULL, updated_at = :now
WHERE id = :id AND complete_at IS NOT NULL AND EXISTS (SELECT 1 FROM job WHERE job.session_id = session.id
  AND job.generation = session.generation AND job.state = 'blocked' AND job.code = 'moved')

-- name: returned
UPDATE session SET vanished_at = NULL, updated_at = :now WHERE id = :id AND vanished_at IS NOT NULL

-- It may have been another session meanwhile: unless Alyx has it, it is looked at anew.
-- name: settle_returned
UPDATE session SET complete_at = NULL, wait_code = 'changed', wait_why = 'the folder was away', wait_since = :now,
  updated_at = :now
WHERE id = :id AND complete_at IS NOT NULL AND eid IS NULL AND EXISTS (SELECT 1 FROM job
  WHERE job.session_id = session.id AND job.generation = session.generation AND job.kind = 'register'
    AND job.state IN ('queued', 'running', 'waiting', 'blocked'))

-- Another session in the place of one that never came to Alyx or into an archive.
-- name: begin_anew
UPDATE session SET complete_at = NULL, signal = NULL, signal_seen_at = NULL, signature = NULL, signature_at = NULL,
  history_at = NULL, moved_from = NULL, wait_code = NULL, wait_why = NULL, wait_since = NULL, updated_at = :now
WHERE id = :id AND eid IS NULL AND history IS NULL
  AND NOT EXISTS (SELECT 1 FROM job WHERE job.session_id = session.id AND job.state = 'done')

-- name: begins_anew
SELECT EXISTS (SELECT 1 FROM remark WHERE session_id = :id AND code = :code)

-- name: has_come
DELETE FROM remark WHERE session_id = :id AND code = :code

-- name: hold
UPDATE session SET held_at = :now, updated_at = :now WHERE id = :id AND held_at IS NULL

-- name: release
UPDATE session SET held_at = NULL, updated_at = :now WHERE id = :id AND held_at IS NOT NULL

-- Few subjects are left out: their sessions are found by the subject, and not by going through the whole root.
-- name: leave_out
UPDATE session SET excluded_at = :now, updated_at = :now
WHERE subject IN (SELECT value FROM json_each(:subjects)) AND +root = :root AND excluded_at IS NULL

-- name: take_in
UPDATE session SET excluded_at = NULL, updated_at = :now
WHERE root = :root AND excluded_at IS NOT NULL AND subject NOT IN (SELECT value FROM json_each(:subjects))

-- name: claim_key
INSERT INTO alyx_key (subject, date, number, session_id)
SELECT subject, date, number, id FROM session WHERE id = :id
ON CONFLICT DO NOTHING

-- name: release_dead_key
DELETE FROM alyx_key
WHERE (subject, date, number) = (SELECT subject, date, number FROM session WHERE id = :id)
  AND session_id IN (SELECT id FROM session_status WHERE vanished_at IS NOT NULL
    AND (registered_at IS NULL OR :also_registered))

-- name: key_owner
SELECT owner.* FROM session_status AS asking
JOIN alyx_key USING (subject, date, number)
JOIN session_status AS owner ON owner.id = alyx_key.session_id
WHERE asking.id = :id
