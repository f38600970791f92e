-- What an operator, or `on_change`, lets us put in the place of something else: it gets a name of its own first, and
-- what stood there is kept.

ALTER TABLE item ADD COLUMN staged BLOB;       -- its own name until the exchange; NULL: it goes to its destination at once
ALTER TABLE item ADD COLUMN kept BLOB;         -- the name that what stands at the destination gets then
ALTER TABLE item ADD COLUMN exchange_at REAL;  -- committed before Alyx hears that the copy is withdrawn
ALTER TABLE item ADD COLUMN exchanged_at REAL;
ALTER TABLE item ADD COLUMN place BLOB GENERATED ALWAYS AS (  -- where the planned bytes are, or will be, now
  CASE WHEN staged IS NOT NULL AND exchanged_at IS NULL THEN staged ELSE destination END) VIRTUAL;
CREATE INDEX item_staged ON item (transfer_id, staged) WHERE staged IS NOT NULL;

-- 0: Globus is not told what the checksums must be, since the collection cannot compute that kind.
ALTER TABLE task ADD COLUMN checksums INTEGER NOT NULL DEFAULT 1;
CREATE INDEX task_without_checksums ON task (target) WHERE fault = 'checksum_refused';

-- An operator's word is history: what was asked for, and by whom.
CREATE TRIGGER job_asked AFTER UPDATE OF options ON job
WHEN NEW.options IS NOT OLD.options AND coalesce(json_extract(NEW.options, '$.by'), '') <> ''
BEGIN
  INSERT INTO event (at, session_id, job_id, action, to_state, code)
  VALUES (NEW.updated_at, NEW.session_id, NEW.id, 'asked', NEW.state,
    iif(json_extract(NEW.options, '$.replace'), 'replace ', '')
      || iif(json_extract(NEW.options, '$.trust_size'), 'trust_size ', '') || 'by ' || json_extract(NEW.options, '$.by'));
END;

CREATE TRIGGER job_added_on_request AFTER INSERT ON job
WHEN NEW.options <> '' AND coalesce(json_extract(NEW.options, '$.by'), '') <> ''
BEGIN
  INSERT INTO event (at, session_id, job_id, action, to_state, code)
  VALUES (NEW.updated_at, NEW.session_id, NEW.id, 'asked', NEW.state,
    iif(json_extract(NEW.options, '$.replace'), 'replace ', '')
      || iif(json_extract(NEW.options, '$.trust_size'), 'trust_size ', '') || 'by ' || json_extract(NEW.options, '$.by'));
END;

CREATE TRIGGER item_exchanged AFTER UPDATE OF exchanged_at ON item
WHEN OLD.exchanged_at IS NULL AND NEW.exchanged_at IS NOT NULL
BEGIN
  INSERT INTO event (at, session_id, job_id, action, code)
  SELECT NEW.exchanged_at, job.session_id, job.id, 'replaced', job.target
  FROM transfer JOIN job ON job.id = transfer.job_id WHERE transfer.id = NEW.transfer_id;
END;
