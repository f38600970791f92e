-- name: of_session
SELECT * FROM file WHERE session_id = :session_id ORDER BY path

-- name: page
SELECT * FROM file WHERE session_id = :session_id AND path > :after ORDER BY path LIMIT :limit

-- name: page_of_carriable
SELECT id, path, size, md5, fate, code, dataset_id FROM file WHERE session_id = :session_id AND path > :after
ORDER BY path LIMIT :limit

-- name: page_of_datasets
SELECT * FROM file WHERE session_id = :session_id AND fate = 'dataset' AND path > :after ORDER BY path LIMIT :limit

-- name: with_ids
SELECT * FROM file WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY path

-- name: named
SELECT path FROM named_file WHERE session_id = :session_id

-- name: name_one
INSERT INTO named_file (session_id, path) VALUES (:session_id, :path) ON CONFLICT DO NOTHING

-- name: has_datasets
SELECT EXISTS (SELECT 1 FROM file WHERE session_id = :session_id AND fate = 'dataset')

-- name: at
SELECT * FROM file WHERE session_id = :session_id AND path = :path

-- name: owners
SELECT session_id FROM file
WHERE session_id IN (SELECT value FROM json_each(:sessions)) AND path = :path AND (size, mtime_ns) = (:size, :mtime_ns)

-- name: rejected
SELECT * FROM file WHERE session_id = :session_id AND fate = 'rejected' ORDER BY path LIMIT :limit

-- name: list_one
INSERT INTO file (session_id, path, generation, size, mtime_ns, ctime_ns, fate, code, reason)
VALUES (:session_id, :path, :generation, :size, :mtime_ns, :ctime_ns, :fate, :code, :reason)
ON CONFLICT (session_id, path) DO UPDATE SET
  generation = CASE WHEN (size, mtime_ns, ctime_ns) = (excluded.size, excluded.mtime_ns, excluded.ctime_ns)
    THEN generation ELSE excluded.generation END,
  md5 = CASE WHEN (size, mtime_ns, ctime_ns) = (excluded.size, excluded.mtime_ns, excluded.ctime_ns) THEN md5 END,
  taken_over = taken_over AND (size, mtime_ns, ctime_ns) = (excluded.size, excluded.mtime_ns, excluded.ctime_ns),
  size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns,
  fate = excluded.fate, code = excluded.code, reason = excluded.reason
RETURNING id

-- name: paths
SELECT id, path FROM file WHERE session_id = :session_id AND path > :after ORDER BY path LIMIT :limit

-- name: count
SELECT count(*) FROM file WHERE session_id = :session_id

-- What a rule leaves out, what was never part of a sealed manifest, and what is no file (a link, a pipe, a folder that
-- was closed to us and is listed without times) is no loss to anybody.
-- name: forget
DELETE FROM file WHERE id = :id AND dataset_id IS NULL AND NOT EXISTS (SELECT 1 FROM item WHERE item.file_id = file.id)
  AND code NOT IN ('removed', 'removed_unarchived')
  AND (fate = 'excluded' OR ctime_ns = 0
    OR generation > (SELECT sealed_generation FROM session WHERE id = :session_id))

-- name: gone
UPDATE file SET fate = 'excluded', code = :code, reason = :reason WHERE id = :id

-- What waits under a name of its own to replace something is no copy yet, and neither is one of other content.
-- name: has_copies
SELECT DISTINCT transfer.target FROM item JOIN transfer ON transfer.id = item.transfer_id
  JOIN file ON file.id = item.file_id
WHERE item.file_id = :id AND item.md5 = file.md5 AND item.verified_at IS NOT NULL AND item.place = item.destination

-- name: removed
SELECT sum(code = 'removed') AS archived, sum(code = 'removed_unarchived') AS left_behind,
  min(CASE WHEN code = 'removed' THEN path END) AS example
FROM file WHERE session_id = :session_id AND code IN ('removed', 'removed_unarchived')

-- name: left_behind
SELECT * FROM file WHERE session_id = :session_id AND code = 'removed_unarchived' ORDER BY path LIMIT :limit

-- What Alyx knows, and what was on its way to an archive, should have come there. An operator who holds the session
-- has heard of it.
-- name: lost
SELECT count(*) AS files, count(DISTINCT file.session_id) AS sessions, max(file.size) AS largest,
  file.session_id AS session_id, file.path AS path
FROM file JOIN session ON session.id = file.session_id
WHERE file.code = 'removed_unarchived'
  AND CASE WHEN :session_id IS NULL THEN session.held_at IS NULL AND session.excluded_at IS NULL
    ELSE session.id = :session_id END
  AND (file.dataset_id IS NOT NULL OR EXISTS (SELECT 1 FROM item WHERE item.file_id = file.id))

-- Of history nothing is asked for. An ending that the configuration leaves out is a rule with a name.
-- name: large_unmatched
SELECT count(*) AS files, coalesce(sum(file.size), 0) AS bytes, count(DISTINCT file.session_id) AS sessions,
  max(file.size) AS largest, file.session_id AS session_id, file.path AS path
FROM file JOIN session ON session.id = file.session_id
WHERE file.fate = 'unmatched' AND file.size >= 1000000000 AND session.history IS NULL AND session.excluded_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM json_each(:endings)
    WHERE substr(file.path, -length(CAST(value AS BLOB))) = CAST(value AS BLOB))

-- name: checksum
UPDATE file SET md5 = :md5
WHERE session_id = :session_id AND path = :path
  AND (size, mtime_ns, ctime_ns) = (:size, :mtime_ns, :ctime_ns)

-- name: reject
UPDATE file SET fate = 'rejected', code = :code, reason = :reason WHERE id = :id

-- name: registered
UPDATE file SET dataset_id = :dataset_id, registered_hash = :hash, registered_at = :now, taken_over = 0 WHERE id = :id

-- name: forget_records
DELETE FROM file_record WHERE file_id = :file_id

-- name: record
INSERT INTO file_record (id, file_id, repository, relative_path, on_disk)
VALUES (:id, :file_id, :repository, :relative_path, :on_disk)
ON CONFLICT (file_id, repository) DO NOTHING
ON CONFLICT (id) DO UPDATE SET file_id = excluded.file_id, repository = excluded.repository,
  relative_path = excluded.relative_path, on_disk = excluded.on_disk

-- name: summary
SELECT sum(NOT gone) AS total, sum(fate = 'dataset') AS datasets, sum(CASE WHEN gone THEN 0 ELSE size END) AS bytes,
  sum(fate = 'dataset' AND registered_hash IS NOT NULL AND (taken_over OR registered_hash = md5)) AS registered,
  sum(fate = 'unmatched') AS unmatched, sum(CASE WHEN fate = 'unmatched' THEN size ELSE 0 END) AS unmatched_bytes,
  sum(fate = 'rejected') AS rejected,
  sum(fate = 'dataset' AND registered_hash IS NOT NULL AND NOT taken_over
    AND registered_hash <> coalesce(md5, '')) AS changed,
  sum(gone) AS removed, sum(code = 'removed_unarchived') AS never_archived
FROM (SELECT *, code IN ('removed', 'removed_unarchived') AS gone FROM file WHERE session_id = :session_id)

-- name: archived_count
SELECT count(*) FROM file WHERE session_id = :session_id AND fate <> 'excluded'
  AND EXISTS (SELECT 1 FROM item WHERE item.file_id = file.id AND item.md5 = file.md5 AND item.verified_at IS NOT NULL
    AND item.place = item.destination)
