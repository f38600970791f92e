-- The sandbox's Alyx. Rows are keyed as Alyx shows them: by name where names are unique, else by UUID.
-- What is NOT unique here is not unique there: sessions, datasets, weighings, water administrations, notes.

CREATE TABLE IF NOT EXISTS user (
    username TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL DEFAULT '',
    salt TEXT NOT NULL,
    digest TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    is_superuser INTEGER NOT NULL DEFAULT 0,
    is_public INTEGER NOT NULL DEFAULT 0,
    is_stock_manager INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS lab (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    institution TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    timezone TEXT NOT NULL DEFAULT 'Europe/London',
    reference_weight_pct REAL NOT NULL DEFAULT 0,
    zscore_weight_pct REAL NOT NULL DEFAULT 0,
    json TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS user_lab (
    user TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
    lab TEXT NOT NULL REFERENCES lab ON DELETE CASCADE,
    PRIMARY KEY (user, lab)
) STRICT;

CREATE TABLE IF NOT EXISTS repository_type (name TEXT PRIMARY KEY, json TEXT) STRICT;

CREATE TABLE IF NOT EXISTS repository (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    timezone TEXT NOT NULL DEFAULT 'Europe/London',
    globus_path TEXT NOT NULL DEFAULT '',
    hostname TEXT NOT NULL DEFAULT '',
    data_url TEXT,
    repository_type TEXT REFERENCES repository_type,
    globus_endpoint_id TEXT,
    globus_is_personal INTEGER NOT NULL DEFAULT 0,
    json TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS lab_repository (
    lab TEXT NOT NULL REFERENCES lab ON DELETE CASCADE,
    repository TEXT NOT NULL REFERENCES repository ON DELETE CASCADE,
    PRIMARY KEY (lab, repository)
) STRICT;

CREATE TABLE IF NOT EXISTS project (
    name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, description TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE IF NOT EXISTS project_user (
    project TEXT NOT NULL REFERENCES project ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
    PRIMARY KEY (project, user)
) STRICT;

CREATE TABLE IF NOT EXISTS procedure (
    name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, json TEXT, description TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE IF NOT EXISTS location (
    name TEXT PRIMARY KEY, lab TEXT REFERENCES lab ON DELETE CASCADE, json TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS water_type (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, json TEXT) STRICT;

CREATE TABLE IF NOT EXISTS data_format (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    json TEXT,
    description TEXT NOT NULL DEFAULT '',
    file_extension TEXT NOT NULL DEFAULT '',
    matlab_loader_function TEXT NOT NULL DEFAULT '',
    python_loader_function TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE IF NOT EXISTS dataset_type (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_by TEXT REFERENCES user ON DELETE SET NULL,
    description TEXT NOT NULL DEFAULT '',
    filename_pattern TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE IF NOT EXISTS tag (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    json TEXT,
    description TEXT NOT NULL DEFAULT '',
    protected INTEGER NOT NULL DEFAULT 0,
    public INTEGER NOT NULL DEFAULT 0,
    hash TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS revision (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    json TEXT,
    description TEXT NOT NULL DEFAULT '',
    created_datetime TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS subject (
    id TEXT PRIMARY KEY,
    nickname TEXT NOT NULL,
    lab TEXT NOT NULL REFERENCES lab ON DELETE CASCADE,
    responsible_user TEXT REFERENCES user ON DELETE SET NULL,
    birth_date TEXT,
    death_date TEXT,
    species TEXT,
    sex TEXT NOT NULL DEFAULT 'U',
    description TEXT NOT NULL DEFAULT '',
    json TEXT,
    UNIQUE (nickname, lab),
    UNIQUE (nickname, responsible_user)
) STRICT;

CREATE TABLE IF NOT EXISTS subject_project (
    subject TEXT NOT NULL REFERENCES subject ON DELETE CASCADE,
    project TEXT NOT NULL REFERENCES project ON DELETE CASCADE,
    PRIMARY KEY (subject, project)
) STRICT;

CREATE TABLE IF NOT EXISTS session (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES subject ON DELETE CASCADE,
    lab TEXT REFERENCES lab,
    location TEXT REFERENCES location,
    type TEXT,
    task_protocol TEXT NOT NULL DEFAULT '',
    number INTEGER,
    start_time TEXT,
    end_time TEXT,
    narrative TEXT NOT NULL DEFAULT '',
    parent_session TEXT REFERENCES session ON DELETE SET NULL,
    n_correct_trials INTEGER,
    n_trials INTEGER,
    extended_qc TEXT,
    qc INTEGER NOT NULL DEFAULT 0,
    json TEXT,
    auto_datetime TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS session_subject ON session (subject, start_time);

CREATE TABLE IF NOT EXISTS session_user (
    session TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
    PRIMARY KEY (session, user)
) STRICT;

CREATE TABLE IF NOT EXISTS session_project (
    session TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
    project TEXT NOT NULL REFERENCES project ON DELETE CASCADE,
    PRIMARY KEY (session, project)
) STRICT;

CREATE TABLE IF NOT EXISTS session_procedure (
    session TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
    procedure TEXT NOT NULL REFERENCES procedure ON DELETE CASCADE,
    PRIMARY KEY (session, procedure)
) STRICT;

CREATE TABLE IF NOT EXISTS dataset (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_by TEXT REFERENCES user ON DELETE CASCADE,
    created_datetime TEXT NOT NULL,
    dataset_type TEXT NOT NULL REFERENCES dataset_type,
    data_format TEXT NOT NULL REFERENCES data_format,
    collection TEXT NOT NULL DEFAULT '',
    session TEXT REFERENCES session ON DELETE CASCADE,
    content_type TEXT,
    object_id TEXT,
    file_size INTEGER,
    hash TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    revision TEXT REFERENCES revision ON DELETE SET NULL,
    default_dataset INTEGER NOT NULL DEFAULT 1,
    qc INTEGER NOT NULL DEFAULT 0,
    json TEXT,
    auto_datetime TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS dataset_session ON dataset (session, collection, name);
CREATE INDEX IF NOT EXISTS dataset_object ON dataset (object_id) WHERE object_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS dataset_tag (
    dataset TEXT NOT NULL REFERENCES dataset ON DELETE CASCADE,
    tag TEXT NOT NULL REFERENCES tag ON DELETE CASCADE,
    PRIMARY KEY (dataset, tag)
) STRICT;

CREATE TABLE IF NOT EXISTS file_record (
    id TEXT PRIMARY KEY,
    dataset TEXT NOT NULL REFERENCES dataset ON DELETE CASCADE,
    data_repository TEXT NOT NULL REFERENCES repository ON DELETE CASCADE,
    relative_path TEXT NOT NULL,
    "exists" INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL DEFAULT '',
    json TEXT,
    UNIQUE (data_repository, relative_path)
) STRICT;
CREATE INDEX IF NOT EXISTS file_record_dataset ON file_record (dataset);

CREATE TABLE IF NOT EXISTS insertion (
    id TEXT PRIMARY KEY,
    session TEXT REFERENCES session ON DELETE CASCADE,
    name TEXT NOT NULL DEFAULT '',
    model TEXT,
    serial TEXT NOT NULL DEFAULT '',
    json TEXT,
    auto_datetime TEXT NOT NULL,
    UNIQUE (session, name)
) STRICT;

CREATE TABLE IF NOT EXISTS insertion_dataset (
    insertion TEXT NOT NULL REFERENCES insertion ON DELETE CASCADE,
    dataset TEXT NOT NULL REFERENCES dataset ON DELETE CASCADE,
    PRIMARY KEY (insertion, dataset)
) STRICT;

CREATE TABLE IF NOT EXISTS note (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES user ON DELETE CASCADE,
    date_time TEXT NOT NULL,
    content_type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    text TEXT NOT NULL DEFAULT '',
    json TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS note_object ON note (object_id);

CREATE TABLE IF NOT EXISTS weighing (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES subject ON DELETE CASCADE,
    date_time TEXT,
    weight REAL NOT NULL,
    user TEXT REFERENCES user ON DELETE SET NULL
) STRICT;

CREATE TABLE IF NOT EXISTS water_administration (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES subject ON DELETE CASCADE,
    date_time TEXT,
    water_administered REAL,
    water_type TEXT REFERENCES water_type,
    user TEXT REFERENCES user ON DELETE SET NULL,
    session TEXT REFERENCES session ON DELETE SET NULL,
    adlib INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE IF NOT EXISTS task (
    id TEXT PRIMARY KEY,
    session TEXT REFERENCES session ON DELETE CASCADE,
    name TEXT,
    status TEXT,
    executable TEXT,
    graph TEXT,
    priority INTEGER,
    level INTEGER,
    log TEXT,
    version TEXT,
    arguments TEXT,
    datetime TEXT NOT NULL,
    UNIQUE (name, session, arguments)
) STRICT;
