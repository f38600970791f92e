-- name: get
SELECT * FROM transfer WHERE id = :id

-- name: of_job
SELECT * FROM transfer WHERE job_id = :job_id

-- name: of_session
SELECT transfer.* FROM transfer JOIN job ON job.id = transfer.job_id
WHERE job.session_id = :session_id ORDER BY transfer.id

-- What waits under a name of its own to replace something is no copy yet.
-- name: copies
SELECT transfer.target, transfer.base, item.destination, item.md5, item.verified_at, item.verified_how
FROM file JOIN job ON job.session_id = file.session_id JOIN transfer ON transfer.job_id = job.id
  JOIN item ON item.transfer_id = transfer.id AND item.file_id = file.id
WHERE file.id = :file_id AND item.verified_at IS NOT NULL AND item.place = item.destination ORDER BY transfer.id

-- name: insert
INSERT INTO transfer (job_id, target, base, batch, source, endpoint, state, bytes_total, files_total, started_at,
  updated_at)
VALUES (:job_id, :target, :base, :batch, :source, :endpoint, 'active', :bytes_total, :files_total, :now, :now)

-- name: insert_item
INSERT INTO item (transfer_id, file_id, destination, size, md5)
VALUES (?, ?, ?, ?, ?)

-- name: items
SELECT item.*, file.path, file.mtime_ns, file.ctime_ns, file.dataset_id, file.registered_hash FROM item JOIN file ON file.id = item.file_id
WHERE transfer_id = :transfer_id ORDER BY file.path

-- name: first_items
SELECT item.*, file.path, file.mtime_ns, file.ctime_ns, file.dataset_id, file.registered_hash
FROM item JOIN file ON file.id = item.file_id WHERE transfer_id = :transfer_id ORDER BY file.path LIMIT :limit

-- name: staged
SELECT item.*, file.path, file.mtime_ns, file.ctime_ns, file.dataset_id, file.registered_hash
FROM item JOIN file ON file.id = item.file_id
WHERE transfer_id = :transfer_id AND staged IS NOT NULL AND exchanged_at IS NULL ORDER BY file.path

-- name: evidence
SELECT coalesce(verified_how, '') AS how, count(*) AS files, sum(size) AS bytes, count(marked_at) AS marked,
  count(exchanged_at) AS replaced FROM item WHERE transfer_id = :transfer_id GROUP BY how ORDER BY how

-- What was staged is looked up by the index of it: left to itself, SQLite reads all files of the session for each of them.
-- name: verified
UPDATE item SET verified_at = :now, verified_how = :how
WHERE transfer_id = :transfer_id AND verified_at IS NULL AND file_id IN (
  SELECT file_id FROM item WHERE transfer_id = :transfer_id AND destination = :destination AND place = destination
  UNION ALL
  SELECT file_id FROM item INDEXED BY item_staged WHERE transfer_id = :transfer_id AND staged = :destination AND place = staged)

-- name: confirmed
UPDATE item SET verified_at = :now, verified_how = arrived_how
WHERE transfer_id = :id AND verified_at IS NULL AND arrived_how IS NOT NULL

-- name: lost
UPDATE item SET verified_at = NULL, verified_how = NULL, marked_at = NULL
WHERE transfer_id = :transfer_id AND file_id IN (
  SELECT file_id FROM item WHERE transfer_id = :transfer_id AND destination = :destination AND place = destination
  UNION ALL
  SELECT file_id FROM item INDEXED BY item_staged WHERE transfer_id = :transfer_id AND staged = :destination AND place = staged)

-- name: reopen
UPDATE transfer SET state = 'active', ended_at = NULL, bytes_done = 0, files_done = 0, updated_at = :now WHERE id = :id

-- name: move
UPDATE transfer SET base = :base, updated_at = :now WHERE id = :id

-- What is sent to another name than before was not looked at, sent or verified there.
-- name: stage
UPDATE item SET staged = :staged, kept = :kept, ours = NULL, verified_at = NULL, verified_how = NULL
WHERE transfer_id = :transfer_id AND destination = :destination AND staged IS NULL AND task_id IS NULL

-- name: unstage
UPDATE item SET staged = NULL, kept = NULL, exchange_at = NULL, exchanged_at = NULL WHERE transfer_id = :id

-- name: exchanging
UPDATE item SET exchange_at = coalesce(exchange_at, :now) WHERE transfer_id = :transfer_id AND file_id = :file_id

-- name: exchanged
UPDATE item SET exchanged_at = :now WHERE transfer_id = :transfer_id AND file_id = :file_id

-- name: marked
UPDATE item SET marked_at = :now WHERE transfer_id = :transfer_id AND file_id = :file_id

-- name: progress
UPDATE transfer SET bytes_done = :bytes_done, files_done = :files_done, updated_at = :now WHERE id = :id

-- Where names were about to be exchanged when an interruption came, and a newer generation followed.
-- name: half_exchanged
SELECT * FROM transfer AS old WHERE target = :target AND base = :base AND endpoint IS :endpoint
  AND job_id IN (SELECT id FROM job WHERE session_id = :session_id AND id <> :job_id)
  AND EXISTS (SELECT 1 FROM item WHERE transfer_id = old.id AND staged IS NOT NULL AND verified_at IS NOT NULL
    AND exchange_at IS NOT NULL AND exchanged_at IS NULL)
ORDER BY id

-- A file that was only planned says nothing about what is there; neither does one at another place, nor one whose name
-- was about to be given away when an interruption came.
-- name: earlier
SELECT item.file_id, item.place AS destination, item.md5, item.size, item.verified_at
FROM transfer AS this
JOIN job ON job.id = this.job_id
JOIN job AS old_job ON old_job.session_id = job.session_id AND old_job.id <> job.id
JOIN transfer AS old ON old.job_id = old_job.id AND old.target = this.target AND old.base = this.base
  AND old.endpoint IS this.endpoint
JOIN item ON item.transfer_id = old.id
WHERE this.id = :id AND (item.verified_at IS NOT NULL OR item.sent) AND NOT EXISTS (
  SELECT 1 FROM job AS half_job JOIN transfer AS half ON half.job_id = half_job.id
  JOIN item AS half_item ON half_item.transfer_id = half.id AND half_item.file_id = item.file_id
  WHERE half_job.session_id = job.session_id AND half.id <> this.id AND half.id > old.id AND half.target = this.target
    AND half.base = this.base AND half.endpoint IS this.endpoint AND half_item.destination = item.place
    AND half_item.exchange_at IS NOT NULL AND half_item.exchanged_at IS NULL)
ORDER BY old.id

-- Destinations that another folder of the same session may write, or has written: all of them where it is still there, and
-- where it is gone only those of a job that is not over.
-- name: claimed
SELECT other.root, other.path, item.destination
FROM transfer AS this JOIN job ON job.id = this.job_id JOIN session ON session.id = job.session_id
CROSS JOIN session AS other ON other.id <> session.id
  AND other.subject = session.subject AND other.date = session.date AND other.number = session.number
CROSS JOIN job AS other_job ON other_job.session_id = other.id
CROSS JOIN transfer ON transfer.job_id = other_job.id AND transfer.base = this.base AND transfer.endpoint IS this.endpoint
CROSS JOIN item ON item.transfer_id = transfer.id
WHERE this.id = :id AND (item.ours = 1 OR item.verified_at IS NOT NULL)
  AND (other.vanished_at IS NULL OR other_job.finished_at IS NULL)

-- name: unlooked
SELECT file_id, place, size, md5 FROM item WHERE transfer_id = :id AND ours IS NULL AND verified_at IS NULL

-- name: unverified
SELECT file_id, place, size, md5 FROM item WHERE transfer_id = :id AND verified_at IS NULL

-- name: looked
UPDATE item SET ours = 1 WHERE transfer_id = :transfer_id AND file_id IN (
  SELECT file_id FROM item WHERE transfer_id = :transfer_id AND destination = :destination AND place = destination
  UNION ALL
  SELECT file_id FROM item INDEXED BY item_staged WHERE transfer_id = :transfer_id AND staged = :destination AND place = staged)

-- name: is_under_way
SELECT EXISTS (SELECT 1 FROM transfer JOIN item ON item.transfer_id = transfer.id
  WHERE transfer.job_id = :job_id
    AND (item.task_id IS NOT NULL AND item.verified_at IS NULL OR item.staged IS NOT NULL AND item.exchanged_at IS NULL))

-- name: trouble
SELECT trouble, trouble_text FROM transfer WHERE id = :id AND trouble <> ''

-- name: forget_trouble
UPDATE transfer SET trouble = '', trouble_text = '' WHERE job_id = :job_id AND trouble <> ''

-- name: missing
SELECT count(*) AS files, count(task_id) AS carried FROM item
WHERE transfer_id = :id AND verified_at IS NULL AND arrived_how IS NULL

-- name: from_source
UPDATE transfer SET source = :source, updated_at = :now WHERE id = :id

-- name: to_place
UPDATE transfer SET base = :base, endpoint = :endpoint, state = 'active', ended_at = NULL, alone = 0, bytes_done = 0,
  files_done = 0, updated_at = :now WHERE id = :id

-- name: start_over
UPDATE item SET verified_at = NULL, verified_how = NULL, marked_at = NULL, ours = NULL, sent = 0, task_id = NULL,
  arrived_how = NULL, staged = NULL, kept = NULL, exchange_at = NULL, exchanged_at = NULL WHERE transfer_id = :id

-- name: release
UPDATE item SET task_id = NULL, arrived_how = NULL WHERE transfer_id = :transfer_id AND file_id IN (
  SELECT file_id FROM item WHERE transfer_id = :transfer_id AND destination = :destination AND place = destination
  UNION ALL
  SELECT file_id FROM item INDEXED BY item_staged WHERE transfer_id = :transfer_id AND staged = :destination AND place = staged)

-- name: finish
UPDATE transfer SET state = :state, ended_at = :now, updated_at = :now,
  bytes_done = CASE WHEN :state = 'verified' THEN bytes_total ELSE bytes_done END,
  files_done = CASE WHEN :state = 'verified' THEN files_total ELSE files_done END
WHERE id = :id

-- Whether anything was verified in a folder, or below it.
-- name: held
SELECT EXISTS (SELECT 1 FROM transfer WHERE target = :target AND files_done > 0
  AND (base = :folder OR substr(base, 1, length(:below)) = :below))

-- name: totals
SELECT count(*) AS active, coalesce(sum(bytes_done), 0) AS bytes_done, coalesce(sum(bytes_total), 0) AS bytes_total,
  coalesce(sum(files_done), 0) AS files_done, coalesce(sum(files_total), 0) AS files_total
FROM transfer WHERE state = 'active'
