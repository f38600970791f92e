-- name: get
SELECT * FROM task WHERE id = :id

-- name: open
SELECT * FROM task WHERE ended_at IS NULL AND :target IN ('', target) ORDER BY id

-- name: open_count
SELECT count(*) FROM task WHERE ended_at IS NULL

-- name: of_transfer
SELECT * FROM task WHERE id IN (SELECT task_id FROM item WHERE transfer_id = :transfer_id) ORDER BY id

-- Transfers with files for a task, in the order in which archive jobs are claimed. A session whose older transfer is
-- still being carried waits for that: the two would have the same destinations.
-- name: ready
SELECT transfer.id AS transfer_id, transfer.job_id, job.session_id, job.created_at, transfer.alone,
  count(*) AS files, sum(item.size) AS bytes
FROM job JOIN transfer ON transfer.job_id = job.id JOIN session ON session.id = job.session_id
  JOIN item ON item.transfer_id = transfer.id
WHERE job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state = 'waiting'
  AND job.code IN ('in_batch', 'in_flight') AND job.target = :target
  AND session.held_at IS NULL AND session.complete_at IS NOT NULL AND transfer.state = 'active'
  AND transfer.trouble = '' AND item.ours = 1 AND item.task_id IS NULL AND item.verified_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM task JOIN item AS other ON other.task_id = task.id
      JOIN transfer AS busy ON busy.id = other.transfer_id JOIN job AS busy_job ON busy_job.id = busy.job_id
    WHERE task.ended_at IS NULL AND task.target = :target AND busy_job.session_id = job.session_id
      AND busy.id <> transfer.id)
GROUP BY transfer.id
ORDER BY sum(item.size) - (:now - job.created_at) * 1000000, transfer.id

-- name: insert
INSERT INTO task (target, batch, label, submission_id, source_endpoint, destination_endpoint, state, files, bytes,
  progress_at, created_at, updated_at)
VALUES (:target, :batch, :label, :submission_id, :source_endpoint, :destination_endpoint, 'submitting', 0, 0,
  :now, :now, :now)

-- name: load
UPDATE item SET task_id = :task_id
WHERE transfer_id = :transfer_id AND task_id IS NULL AND ours = 1 AND verified_at IS NULL AND file_id IN (
  SELECT file_id FROM item WHERE transfer_id = :transfer_id AND task_id IS NULL AND ours = 1 AND verified_at IS NULL
  ORDER BY file_id LIMIT :files)

-- name: weigh
UPDATE task SET files = (SELECT count(*) FROM item WHERE task_id = :id),
  bytes = (SELECT coalesce(sum(size), 0) FROM item WHERE task_id = :id) WHERE id = :id

-- name: cargo
SELECT item.transfer_id, item.file_id, transfer.source, transfer.base, file.path, item.destination, item.size, item.md5,
  file.mtime_ns, file.ctime_ns, item.arrived_how
FROM item JOIN transfer ON transfer.id = item.transfer_id JOIN file ON file.id = item.file_id
WHERE item.task_id = :id ORDER BY item.transfer_id, item.file_id

-- name: accepted
UPDATE task SET globus_id = :globus_id, state = 'active', progress_at = :now, updated_at = :now WHERE id = :id

-- name: tickets
UPDATE transfer SET ticket = :globus_id, updated_at = :now WHERE id IN (
  SELECT transfer_id FROM item WHERE task_id = :id)

-- name: tell
UPDATE job SET code = :code, reason = :reason, hint = '', updated_at = :now
WHERE state = 'waiting' AND id IN (
  SELECT transfer.job_id FROM transfer WHERE transfer.id IN (SELECT transfer_id FROM item WHERE task_id = :id))

-- name: hurry
UPDATE job SET not_before = :now
WHERE state = 'waiting' AND id IN (
  SELECT transfer.job_id FROM transfer WHERE transfer.id IN (SELECT transfer_id FROM item WHERE task_id = :id))

-- name: seen
UPDATE task SET progress = :progress, fault = :fault, fault_text = :fault_text, updated_at = :now,
  progress_at = CASE WHEN :progress > progress THEN :now ELSE progress_at END WHERE id = :id

-- The service counts a task as a whole; its sessions share what has moved in proportion.
-- name: share
UPDATE transfer SET updated_at = :now,
  bytes_done = CAST (:share * (SELECT sum(size) FROM item WHERE item.transfer_id = transfer.id AND task_id = :id)
    AS INTEGER) + coalesce((SELECT sum(size) FROM item WHERE item.transfer_id = transfer.id
      AND (arrived_how IS NOT NULL OR verified_at IS NOT NULL)), 0)
WHERE id IN (SELECT transfer_id FROM item WHERE task_id = :id)

-- name: cancelling
UPDATE task SET state = 'cancelling', fault = :fault, fault_text = :fault_text, updated_at = :now WHERE id = :id

-- name: arrived
UPDATE item SET arrived_how = :how WHERE transfer_id = :transfer_id AND file_id = :file_id

-- name: unload
UPDATE item SET task_id = NULL WHERE task_id = :id AND arrived_how IS NULL

-- name: trouble
UPDATE transfer SET trouble = :trouble, trouble_text = :trouble_text, updated_at = :now WHERE id = :transfer_id

-- name: alone
UPDATE transfer SET alone = 1 WHERE id = :transfer_id

-- name: hurry_transfer
UPDATE job SET not_before = :now WHERE state = 'waiting'
  AND id = (SELECT job_id FROM transfer WHERE id = :transfer_id)

-- name: end
UPDATE task SET state = :state, fault = :fault, fault_text = :fault_text, evidence = :evidence, ended_at = :now,
  updated_at = :now WHERE id = :id
