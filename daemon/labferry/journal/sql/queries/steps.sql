-- name: get
SELECT * FROM step WHERE job_id = :job_id AND name = :name

-- name: of_job
SELECT * FROM step WHERE job_id = :job_id ORDER BY id

-- name: of_session
SELECT step.* FROM step JOIN job ON job.id = step.job_id
WHERE job.session_id = :session_id AND step.name = :name ORDER BY step.answered_at IS NULL, step.id DESC LIMIT 1

-- name: begins_with
SELECT step.* FROM step JOIN job ON job.id = step.job_id
WHERE job.session_id = :session_id AND step.name GLOB :prefix || '*' ORDER BY step.id

-- name: unanswered
SELECT step.* FROM step JOIN job ON job.id = step.job_id
WHERE job.session_id = :session_id AND step.answered_at IS NULL AND step.name GLOB :prefix || '*' ORDER BY step.id

-- name: send
INSERT INTO step (job_id, name, request, sent_at) VALUES (:job_id, :name, :request, :now)
ON CONFLICT (job_id, name) DO UPDATE SET request = excluded.request, sent_at = excluded.sent_at,
  answer = NULL, answered_at = NULL

-- name: answer
UPDATE step SET answer = :answer, answered_at = :now WHERE job_id = :job_id AND name = :name

-- name: drop
DELETE FROM step WHERE job_id = :job_id AND name = :name
