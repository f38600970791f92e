-- name: of_target
SELECT endpoint, path, submission_id FROM probe WHERE target = :target ORDER BY made_at

-- name: begin
INSERT INTO probe (target, endpoint, path, made_at) VALUES (:target, :endpoint, :path, :now)
ON CONFLICT (endpoint, path) DO UPDATE SET target = excluded.target, submission_id = NULL

-- name: removing
UPDATE probe SET submission_id = :submission_id WHERE endpoint = :endpoint AND path = :path

-- name: end
DELETE FROM probe WHERE endpoint = :endpoint AND path = :path
