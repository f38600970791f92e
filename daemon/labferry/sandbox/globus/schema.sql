-- The sandbox's Globus: who may ask, what was asked, and how far it is.

CREATE TABLE IF NOT EXISTS issued (
    value TEXT PRIMARY KEY,
    kind TEXT NOT NULL,                 -- access, refresh
    client TEXT NOT NULL,
    identity TEXT NOT NULL,
    resource_server TEXT NOT NULL,
    scope TEXT NOT NULL,
    authenticated REAL,                 -- when the person typed a password; none for a service account
    replaces TEXT,                      -- the refresh token that ends as soon as this one is used
    expires REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS code (
    value TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    identity TEXT NOT NULL,
    scope TEXT NOT NULL,
    challenge TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    offline INTEGER NOT NULL,
    authenticated REAL NOT NULL,
    expires REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS consent (
    identity TEXT NOT NULL,
    client TEXT NOT NULL,
    collection TEXT NOT NULL,
    PRIMARY KEY (identity, client, collection)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS browser (
    identity TEXT PRIMARY KEY,
    authenticated REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS task (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    label TEXT,
    status TEXT NOT NULL DEFAULT 'ACTIVE',
    source_endpoint TEXT NOT NULL,
    destination_endpoint TEXT NOT NULL,
    paths TEXT NOT NULL,                -- digest of endpoints and paths: two live tasks never have the same
    sync_level INTEGER,
    verify_checksum INTEGER NOT NULL,
    preserve_timestamp INTEGER NOT NULL,
    encrypt_data INTEGER NOT NULL,
    skip_source_errors INTEGER NOT NULL,
    fail_on_quota_errors INTEGER NOT NULL,
    requested REAL NOT NULL,
    deadline REAL NOT NULL,
    completed REAL,
    files INTEGER NOT NULL,
    files_transferred INTEGER NOT NULL DEFAULT 0,
    files_skipped INTEGER NOT NULL DEFAULT 0,
    skipped_errors INTEGER NOT NULL DEFAULT 0,
    bytes_transferred INTEGER NOT NULL DEFAULT 0,
    bytes_checksummed INTEGER NOT NULL DEFAULT 0,
    faults INTEGER NOT NULL DEFAULT 0,
    fault_code TEXT,
    fault_description TEXT,
    is_paused INTEGER NOT NULL DEFAULT 0,
    fatal_code TEXT,
    fatal_description TEXT
) STRICT;

CREATE INDEX IF NOT EXISTS task_status ON task (status, paths);

CREATE TABLE IF NOT EXISTS item (
    task INTEGER NOT NULL REFERENCES task ON DELETE CASCADE,
    number INTEGER NOT NULL,
    source_path TEXT NOT NULL,
    destination_path TEXT NOT NULL,
    external_checksum TEXT,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',   -- pending, transferred, skipped, error
    size INTEGER,
    checksum TEXT,
    error_code TEXT,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS submission (
    id TEXT PRIMARY KEY,
    task INTEGER REFERENCES task ON DELETE CASCADE
) STRICT;

CREATE TABLE IF NOT EXISTS cancellation (  -- of a task, by somebody who administers a collection
    task INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    message TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS deletion (      -- done when it is accepted
    id TEXT PRIMARY KEY,
    submission TEXT NOT NULL UNIQUE REFERENCES submission ON DELETE CASCADE,
    endpoint TEXT NOT NULL,
    path TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES task ON DELETE CASCADE,
    time REAL NOT NULL,
    code TEXT NOT NULL,
    is_error INTEGER NOT NULL,
    description TEXT NOT NULL,
    details TEXT NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS event_task ON event (task, number);
