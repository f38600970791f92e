-- name: record
INSERT INTO recovery (at, why, kept_as, backup, known_until) VALUES (:at, :why, :kept_as, :backup, :known_until)
ON CONFLICT DO NOTHING

-- name: all
SELECT * FROM recovery ORDER BY at
