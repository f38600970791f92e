-- The file system that a root was on when nothing was missing: another one in its place is not the root.

ALTER TABLE root ADD COLUMN device INTEGER;    -- st_dev; NULL until a scan was as it should be
