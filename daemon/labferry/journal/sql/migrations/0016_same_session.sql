-- Asked before a session is sent to a collection: other folders of the same subject, date and number.
CREATE INDEX session_same ON session (subject, date, number);
