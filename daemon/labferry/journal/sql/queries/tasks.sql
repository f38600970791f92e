-- name: get
SELECT * FROM task WHERE id = :id

-- The order is said so that the few open tasks are found by their index, and not among all there ever were.
-- name: open
SELECT * FROM task WHERE ended_at IS NULL AND target = :target ORDER BY +id

-- name: open_everywhere
SELECT * FROM task INDEXED BY task_open WHERE ended_at IS NULL ORDER BY +id

-- A task whose archive is not configured any more has no lane that ends it, and takes no place; neither does one that
-- waits for somebody else's.
-- name: open_count
SELECT count(*) FROM task WHERE ended_at IS NULL AND target IN (SELECT value FROM json_each(:targets))
  AND (globus_id IS NOT NULL OR fault = '')

-- name: refused_checksums
SELECT EXISTS (SELECT 1 FROM task INDEXED BY task_without_checksums
  WHERE fault = 'checksum_refused' AND target = :target AND destination_endpoint = :endpoint)

-- name: of_transfer
SELECT * FROM task WHERE id IN (SELECT task_id FROM item WHERE transfer_id = :transfer_id) ORDER BY id

-- name: carries
SELECT EXISTS (SELECT 1 FROM item JOIN task ON task.id = item.task_id
  WHERE item.transfer_id = :transfer_id AND task.ended_at IS NULL)

-- Transfers with files for a task, in the order in which archive jobs are claimed; what failed alone lets the others
-- go first. A session whose older transfer is still being carried waits for that: the two would have the same
-- destinations.
-- name: ready
WITH carried AS MATERIALIZED (
  SELECT DISTINCT item.transfer_id FROM task JOIN item ON item.task_id = task.id
  WHERE task.ended_at IS NULL AND task.target = :target),
busy AS MATERIALIZED (
  SELECT transfer.id, job.session_id FROM carried JOIN transfer ON transfer.id = carried.transfer_id
    JOIN job ON job.id = transfer.job_id)
SELECT transfer.id AS transfer_id, transfer.job_id, job.session_id, job.created_at, transfer.alone,
  count(*) AS files, sum(item.size) AS bytes
FROM job JOIN transfer ON transfer.job_id = job.id JOIN session ON session.id = job.session_id
  JOIN item ON item.transfer_id = transfer.id
WHERE job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state = 'waiting'
  AND job.stage = 'archive' AND job.code = 'in_batch' AND job.target = :target
  AND session.held_at IS NULL AND session.excluded_at IS NULL AND session.complete_at IS NOT NULL
  AND transfer.state = 'active'
  AND transfer.trouble = '' AND item.ours = 1 AND item.task_id IS NULL AND item.verified_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM busy WHERE busy.session_id = job.session_id AND busy.id <> transfer.id)
GROUP BY transfer.id
ORDER BY transfer.alone > 1, sum(item.size) - (:now - job.created_at) * 1000000, transfer.id

-- name: next_files
SELECT file.path, item.size, file.mtime_ns, file.ctime_ns FROM item JOIN file ON file.id = item.file_id
WHERE item.transfer_id = :transfer_id AND item.task_id IS NULL AND item.ours = 1 AND item.verified_at IS NULL
ORDER BY item.file_id LIMIT :files

-- name: insert
INSERT INTO task (target, batch, label, submission_id, source_endpoint, destination_endpoint, checksums, state, files,
  bytes, progress_at, created_at, updated_at)
VALUES (:target, :batch, :label, :submission_id, :source_endpoint, :destination_endpoint, :checksums, 'submitting', 0, 0,
  :now, :now, :now)

-- An operator may have held or cancelled the session meanwhile.
-- name: load
UPDATE item SET task_id = :task_id, sent = sent + 1
WHERE transfer_id = :transfer_id AND task_id IS NULL AND ours = 1 AND verified_at IS NULL AND file_id IN (
  SELECT file_id FROM item WHERE transfer_id = :transfer_id AND task_id IS NULL AND ours = 1 AND verified_at IS NULL
  ORDER BY file_id LIMIT :files)
  AND EXISTS (SELECT 1 FROM transfer JOIN job ON job.id = transfer.job_id JOIN session ON session.id = job.session_id
    WHERE transfer.id = :transfer_id AND job.state = 'waiting' AND session.held_at IS NULL
      AND session.complete_at IS NOT NULL)

-- name: unmake
DELETE FROM task WHERE id = :id

-- name: weigh
UPDATE task SET files = (SELECT count(*) FROM item WHERE task_id = :id),
  bytes = (SELECT coalesce(sum(size), 0) FROM item WHERE task_id = :id) WHERE id = :id

-- name: cargo
SELECT item.transfer_id, item.file_id, transfer.source, transfer.base, file.path, item.place AS destination, item.size, item.md5,
  file.mtime_ns, file.ctime_ns, item.arrived_how
FROM item JOIN transfer ON transfer.id = item.transfer_id JOIN file ON file.id = item.file_id
WHERE item.task_id = :id ORDER BY item.transfer_id, item.file_id

-- name: page_of_parcels
SELECT item.transfer_id, item.file_id, transfer.source, transfer.base, file.path, item.place AS destination, item.size, item.md5
FROM item JOIN transfer ON transfer.id = item.transfer_id JOIN file ON file.id = item.file_id
WHERE item.task_id = :id AND (item.transfer_id, item.file_id) > (:transfer_id, :file_id)
ORDER BY item.transfer_id, item.file_id LIMIT :limit

-- name: accepted
UPDATE task SET globus_id = :globus_id, state = 'active', fault = '', fault_text = '', fault_since = NULL, progress_at = :now,
  updated_at = :now WHERE id = :id

-- name: tickets
UPDATE transfer SET ticket = :globus_id, updated_at = :now WHERE id IN (
  SELECT transfer_id FROM item WHERE task_id = :id)

-- A session of which not everything is in the task goes on waiting for the next one.
-- name: tell
UPDATE job SET code = :code, reason = :reason, hint = :hint, updated_at = :now
WHERE state = 'waiting' AND id IN (
  SELECT transfer.job_id FROM transfer WHERE transfer.id IN (SELECT transfer_id FROM item WHERE task_id = :id)
    AND NOT EXISTS (SELECT 1 FROM item
      WHERE item.transfer_id = transfer.id AND item.task_id IS NULL AND item.verified_at IS NULL))

-- name: passengers
SELECT DISTINCT transfer_id FROM item WHERE task_id = :id

-- What is left to do about a transfer of which a task has ended: files without evidence, and those that wait for a task.
-- name: left
SELECT trouble, (SELECT count(*) FROM item
    WHERE item.transfer_id = transfer.id AND verified_at IS NULL AND arrived_how IS NULL) AS missing,
  (SELECT count(*) FROM item
    WHERE item.transfer_id = transfer.id AND verified_at IS NULL AND task_id IS NULL) AS free
FROM transfer WHERE id = :transfer_id

-- name: wait_again
UPDATE job SET code = :code, reason = :reason, hint = :hint, updated_at = :now
WHERE state = 'waiting' AND id = (SELECT job_id FROM transfer WHERE id = :transfer_id)

-- name: seen
UPDATE task SET progress = :progress, updated_at = :now,
  progress_at = CASE WHEN :progress > progress THEN :now ELSE progress_at END WHERE id = :id

-- name: complains
UPDATE task SET fault = :fault, fault_text = :fault_text, updated_at = :now,
  fault_since = CASE WHEN :fault = '' THEN NULL WHEN fault = :fault THEN coalesce(fault_since, :now) ELSE :now END
WHERE id = :id

-- The service counts a task as a whole; its sessions share what has moved in proportion.
-- name: share
UPDATE transfer SET updated_at = :now,
  bytes_done = CAST (:bytes_share * (SELECT sum(size) FROM item WHERE item.transfer_id = transfer.id AND task_id = :id)
    AS INTEGER) + coalesce((SELECT sum(size) FROM item WHERE item.transfer_id = transfer.id
      AND (arrived_how IS NOT NULL OR verified_at IS NOT NULL)), 0),
  files_done = CAST (:files_share * (SELECT count(*) FROM item WHERE item.transfer_id = transfer.id AND task_id = :id)
    AS INTEGER) + (SELECT count(*) FROM item WHERE item.transfer_id = transfer.id
      AND (arrived_how IS NOT NULL OR verified_at IS NOT NULL))
WHERE id IN (SELECT transfer_id FROM item WHERE task_id = :id)

-- When a task has ended, what counts is what it brought.
-- name: recount
UPDATE transfer SET
  bytes_done = coalesce((SELECT sum(size) FROM item WHERE item.transfer_id = transfer.id
    AND (arrived_how IS NOT NULL OR verified_at IS NOT NULL)), 0),
  files_done = (SELECT count(*) FROM item WHERE item.transfer_id = transfer.id
    AND (arrived_how IS NOT NULL OR verified_at IS NOT NULL))
WHERE id = :transfer_id

-- name: cancelling
UPDATE task SET state = 'cancelling', fault = :fault, fault_text = :fault_text, updated_at = :now,
  fault_since = CASE WHEN :hindered THEN fault_since END WHERE id = :id

-- name: arrived
UPDATE item SET arrived_how = :how WHERE transfer_id = :transfer_id AND file_id = :file_id

-- name: unload
UPDATE item SET task_id = NULL WHERE task_id = :id AND arrived_how IS NULL

-- Nothing of it was begun: what no other task was made with was never sent.
-- name: unsent
UPDATE item SET sent = max(0, sent - 1) WHERE task_id = :id

-- name: trouble
UPDATE transfer SET trouble = :trouble, trouble_text = :trouble_text, updated_at = :now WHERE id = :transfer_id

-- name: alone
UPDATE transfer SET alone = alone + 1 WHERE id = :transfer_id

-- name: hurry_transfer
UPDATE job SET not_before = :now WHERE state = 'waiting'
  AND id = (SELECT job_id FROM transfer WHERE id = :transfer_id)

-- name: end
UPDATE task SET state = :state, fault = :fault, fault_text = :fault_text, evidence = :evidence, ended_at = :now,
  updated_at = :now WHERE id = :id
