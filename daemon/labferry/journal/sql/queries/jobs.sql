-- name: get
SELECT * FROM job WHERE id = :id

-- name: of_session
SELECT * FROM job WHERE session_id = :session_id ORDER BY id

-- name: live_of_session
SELECT * FROM job WHERE session_id = :session_id AND state IN ('queued', 'running', 'waiting', 'blocked') ORDER BY id

-- name: of_generation
SELECT job.* FROM job JOIN session ON session.id = job.session_id AND session.generation = job.generation
WHERE job.session_id = :session_id AND job.kind = :kind AND job.state <> 'superseded' ORDER BY job.id

-- name: unfinished
SELECT * FROM job WHERE state IN ('queued', 'running', 'waiting', 'blocked') ORDER BY id

-- name: in_state
SELECT * FROM job WHERE state = :state ORDER BY id DESC LIMIT 10000

-- name: counts
SELECT state, count(*) AS jobs FROM job WHERE state IN ('queued', 'running', 'waiting', 'blocked') GROUP BY state

-- name: oldest_waiting
SELECT min(job.created_at) FROM job JOIN session ON session.id = job.session_id
WHERE job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state IN ('queued', 'waiting')
  AND session.excluded_at IS NULL

-- name: blocked_since
SELECT min(updated_at) FROM job WHERE state IN ('queued', 'running', 'waiting', 'blocked') AND state = 'blocked'

-- A job has no reason while it is looked at again; what is late must not seem to be in time for that moment.
-- name: late
SELECT job.target, count(*) AS sessions, min(job.created_at) AS since
FROM job JOIN session ON session.id = job.session_id
WHERE job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state <> 'blocked' AND job.stage = 'archive'
  AND job.code IN ('not_observed', '') AND job.created_at < :before AND session.excluded_at IS NULL
GROUP BY job.target ORDER BY job.target

-- name: insert
INSERT INTO job (session_id, kind, target, generation, state, stage, not_before, bytes_left, code, reason, hint, options,
  created_at, updated_at)
SELECT id, :kind, :target, generation, :state, :stage, :now, :bytes_left, :code, :reason, :hint, :options, :now, :now
FROM session WHERE id = :session_id

-- name: supersede
UPDATE job SET state = 'superseded', claimed_by = NULL, finished_at = :now, superseded_at = :now, updated_at = :now
WHERE session_id = :session_id AND state IN ('queued', 'waiting', 'blocked', 'running')

-- Least remaining work first, and every second of age is worth a megabyte: small sessions overtake a giant one,
-- and no session is overtaken for ever. What the outside has just refused lets the others try first: an archive
-- that is too full for one session may have room for the next.
-- What gave way in the middle of its work lets all others of its lane go first, but not for ever; a copy gave way to
-- less work only, and the usual order says all.
-- Jobs of a session that settles again wait for its next generation. A session has one attempt at a time, also one
-- whose job was cancelled or superseded meanwhile: two requests at once would double what they send. Only copies to
-- different archives go on side by side.
-- name: claim
UPDATE job SET state = 'running', claimed_by = :instance, attempts = attempts + 1, code = '', reason = '', hint = '',
  updated_at = :now
WHERE id = (
  SELECT job.id FROM job JOIN session ON session.id = job.session_id
  WHERE job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state IN ('queued', 'waiting')
    AND job.stage = :stage AND :target IN ('', job.target)
    AND job.not_before <= :now AND session.held_at IS NULL AND session.excluded_at IS NULL
    AND session.complete_at IS NOT NULL
    AND NOT (:others_first AND job.code = 'files_left' AND job.stage <> 'archive' AND job.updated_at > :now - :gives_way)
    AND job.session_id NOT IN (
      SELECT busy.session_id FROM attempt JOIN job AS busy ON busy.id = attempt.job_id
      WHERE attempt.ended_at IS NULL
        AND NOT (:stage = 'archive' AND attempt.stage = 'archive' AND busy.target <> :target))
  ORDER BY job.outages > 0, job.bytes_left - (:now - job.created_at) * 1000000, job.id
  LIMIT 1)
RETURNING *

-- name: is_over
SELECT job.state <> 'running' OR session.held_at IS NOT NULL
FROM job JOIN session ON session.id = job.session_id WHERE job.id = :id

-- In the order and with the conditions of `claim`.
-- name: is_overtaken
SELECT EXISTS (
  SELECT 1 FROM job AS own, job JOIN session ON session.id = job.session_id
  WHERE own.id = :id
    AND job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state IN ('queued', 'waiting')
    AND job.stage = own.stage AND job.target = own.target
    AND job.not_before <= :now AND session.held_at IS NULL AND session.excluded_at IS NULL
    AND session.complete_at IS NOT NULL
    AND (job.outages > 0, job.bytes_left - (:now - job.created_at) * 1000000)
      < (own.outages > 0, own.bytes_left - (:now - own.created_at) * 1000000)
    AND job.session_id NOT IN (
      SELECT busy.session_id FROM attempt JOIN job AS busy ON busy.id = attempt.job_id
      WHERE attempt.ended_at IS NULL
        AND NOT (own.stage = 'archive' AND attempt.stage = 'archive' AND busy.target <> own.target)))

-- What a root asks for may change between two lives: a new archive gets its jobs for everything that is there.
-- name: add_missing_archives
INSERT INTO job (session_id, kind, target, generation, state, stage, not_before, bytes_left, created_at, updated_at)
SELECT id, 'archive', :target, generation, 'queued', 'seal', :now, 0, :now, :now FROM session_status
WHERE root = :root AND complete_at IS NOT NULL AND (registered_at IS NOT NULL OR NOT :registers)
  AND excluded_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM job WHERE job.session_id = session_status.id AND job.kind = 'archive'
    AND job.target = :target AND job.generation = session_status.generation AND job.state <> 'superseded')

-- What the configuration does not ask for any more is not counted against a session, and may be asked for again.
-- name: supersede_unasked
UPDATE job SET state = 'superseded', claimed_by = NULL, code = '', reason = :reason, hint = '', finished_at = :now,
  superseded_at = :now, updated_at = :now
WHERE state IN ('queued', 'running', 'waiting', 'blocked', 'cancelled') AND kind = :kind AND target = :target
  AND session_id IN (SELECT id FROM session WHERE root = :root)

-- name: targets_of_root
SELECT DISTINCT job.target FROM job JOIN session ON session.id = job.session_id
WHERE session.root = :root AND job.kind = 'archive' AND job.state NOT IN ('done', 'superseded')

-- name: park
UPDATE job SET state = 'waiting', code = :code, reason = :reason, hint = :hint, updated_at = :now
WHERE state IN ('queued', 'waiting') AND session_id IN (SELECT id FROM session WHERE root = :root)

-- name: next_due
SELECT min(job.not_before) FROM job JOIN session ON session.id = job.session_id
WHERE job.state IN ('queued', 'running', 'waiting', 'blocked') AND job.state IN ('queued', 'waiting')
  AND job.stage = :stage AND :target IN ('', job.target)
  AND session.held_at IS NULL AND session.excluded_at IS NULL AND session.complete_at IS NOT NULL

-- name: begin_attempt
INSERT INTO attempt (job_id, number, instance_id, stage, started_at)
VALUES (:id, :number, :instance, :stage, :now)

-- name: end_attempt
UPDATE attempt SET ended_at = :now, outcome = :outcome, code = :code, detail = :detail
WHERE job_id = :id AND number = :number

-- name: trim_attempts
DELETE FROM attempt WHERE job_id = :id AND number <= :number - :kept

-- name: move
UPDATE job SET state = :state, stage = :stage, claimed_by = NULL, not_before = :not_before, failures = :failures,
  outages = :outages, code = :code, reason = :reason, hint = :hint, updated_at = :now,
  finished_at = CASE WHEN :state IN ('done', 'cancelled', 'superseded') THEN :now END
WHERE id = :id AND state = 'running' AND claimed_by = :instance

-- name: lose_attempts
UPDATE attempt SET ended_at = :now, outcome = 'lost'
WHERE ended_at IS NULL AND instance_id <> :instance

-- name: requeue_lost
UPDATE job SET state = 'queued', claimed_by = NULL, not_before = :now, updated_at = :now
WHERE state = 'running' AND claimed_by <> :instance

-- name: clamp
UPDATE job SET not_before = :latest WHERE state IN ('queued', 'waiting') AND not_before > :latest

-- name: revive
UPDATE job SET state = 'queued', not_before = :now, failures = 0, outages = 0, code = '', reason = '', hint = '',
  finished_at = NULL, updated_at = :now
WHERE id = :id AND state IN ('waiting', 'blocked', 'cancelled')

-- name: revive_blocked
UPDATE job SET state = 'queued', not_before = :now, failures = 0, outages = 0, code = '', reason = '', hint = '',
  updated_at = :now
WHERE state IN ('queued', 'running', 'waiting', 'blocked') AND state = 'blocked' AND target = :target AND code = :code
  AND NOT EXISTS (SELECT 1 FROM transfer
    WHERE transfer.job_id = job.id AND lower(hex(base)) IN (SELECT value FROM json_each(:but)))

-- name: cancel
UPDATE job SET state = 'cancelled', claimed_by = NULL, code = 'cancelled', reason = :reason, hint = '',
  finished_at = :now, updated_at = :now
WHERE id = :id AND state IN ('queued', 'running', 'waiting', 'blocked')

-- name: hurry
UPDATE job SET not_before = :now WHERE state = 'waiting' AND code = :code AND not_before > :now

-- name: hurry_session
UPDATE job SET not_before = :now
WHERE session_id = :session_id AND state = 'waiting' AND code = :code AND not_before > :now

-- name: ask
UPDATE job SET options = :options, updated_at = :now WHERE id = :id

-- name: hurry_one
UPDATE job SET not_before = :now
WHERE session_id = :session_id AND state = 'waiting' AND code = :code AND not_before > :now

-- name: set_bytes_left
UPDATE job SET bytes_left = :bytes_left WHERE id = :id

-- name: attempts
SELECT * FROM attempt WHERE job_id = :job_id ORDER BY number

-- name: begin_instance
INSERT INTO instance (id, pid, version, started_at) VALUES (:instance, :pid, :version, :now)

-- name: show_life
UPDATE instance SET stopped_at = NULL WHERE id = :instance

-- name: end_instance
UPDATE instance SET stopped_at = :now WHERE id = :instance

-- name: unclean_stops
SELECT count(*) FROM instance WHERE stopped_at IS NULL AND id <> :instance

-- name: settle_instances
UPDATE instance SET stopped_at = :now WHERE stopped_at IS NULL AND id <> :instance
