-- Where is a copy of this file? Without it, each such question, and each row of `file` that goes, reads all copies there are.

CREATE INDEX item_of_file ON item (file_id);
