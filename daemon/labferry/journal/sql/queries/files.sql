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

-- name: forget
DELETE FROM file WHERE id = :id AND dataset_id IS NULL AND id NOT IN (SELECT file_id FROM item)

-- name: gone
UPDATE file SET fate = 'excluded', code = 'removed', reason = 'removed from the folder after it was registered'
WHERE id = :id

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
SELECT count(*) AS total, sum(fate = 'dataset') AS datasets, sum(size) AS bytes,
  sum(fate = 'dataset' AND registered_hash IS NOT NULL AND (taken_over OR registered_hash = md5)) AS registered,
  sum(fate = 'unmatched') AS unmatched, sum(CASE WHEN fate = 'unmatched' THEN size ELSE 0 END) AS unmatched_bytes,
  sum(fate = 'rejected') AS rejected,
  sum(fate = 'dataset' AND registered_hash IS NOT NULL AND NOT taken_over
    AND registered_hash <> coalesce(md5, '')) AS changed
FROM file WHERE session_id = :session_id

-- name: archived_count
SELECT count(*) FROM file WHERE session_id = :session_id AND fate <> 'excluded'
  AND EXISTS (SELECT 1 FROM item WHERE item.file_id = file.id AND item.md5 = file.md5 AND item.verified_at IS NOT NULL)
