-- name: of_session
SELECT * FROM event WHERE session_id = :session_id AND id > :since ORDER BY id LIMIT :limit

-- name: since
SELECT * FROM event WHERE id > :since ORDER BY id LIMIT :limit

-- name: last
SELECT coalesce(max(id), 0) FROM event

-- name: trim
DELETE FROM event WHERE at < :before AND id < (SELECT max(id) FROM event)
