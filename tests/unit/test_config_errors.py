"""Bad configurations: every message names the file, the key, the value and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.config import load
from labferry.errors import ConfigError, ExitCode
from support.config_file import ALYX, ROOT, TOP, VALID, ConfigFile, config_file

ENDPOINT = "01234567-89ab-cdef-0123-456789abcdef"
NAS = '[archive.nas]\nkind = "directory"\npath = "/mnt/nas"\n'
HPC = f'[archive.hpc]\nkind = "globus"\nendpoint = "{ENDPOINT}"\n'
FLATIRON = '[archive.flatiron]\nkind = "observe"\n'
NO_REPOSITORY = ROOT.replace('repository = "mylab_server"\n', "")


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return config_file(tmp_path)


# What is written, and what the one line of the message must contain.
SINGLE = {
    "unknown key": (VALID + "layot = 1\n", ['[[roots]] "s0" layot', "not a known key", 'did you mean "layout"?']),
    "unknown key at the top": ('stat_dir = "/x"\n' + VALID, ["stat_dir", 'did you mean "state_dir"?']),
    "unknown table": (VALID + "[detecton]\n", ["detecton", 'did you mean "detection"?']),
    "nothing near": (VALID + "[journal]\nzzz = 1\n", ["[journal] zzz", "known are keep_events, backups"]),
    "key of another table": (VALID + "[journal]\nchunk = 1\n", ["[journal] chunk", "belongs into [registration]"]),
    "top key in a table": (VALID + '[journal]\nstate_dir = "/x"\n', ["[journal] state_dir", "top of the file"]),
    "key of another archive kind": (VALID + FLATIRON + "path = 1\n", ["[archive.flatiron] path", "not a known key"]),
    "no server_name": (ALYX + ROOT, ["server_name is missing", 'server_name = "lab-server-1"']),
    "no alyx": (TOP + ROOT, ["[alyx] is missing", "url, username and password_file"]),
    "no alyx url": (VALID.replace("url", "#"), ["[alyx] url is missing", "https://alyx.example.org"]),
    "no username": (VALID.replace("username", "#"), ["[alyx] username is missing", "token_file"]),
    "no password": (VALID.replace("password_file", "#"), ["[alyx] password_file is missing", "alyx-password"]),
    "password and token": (
        VALID.replace("[alyx]", '[alyx]\ntoken_file = "alyx-password"'),
        ["[alyx] token_file", "beside password_file", "remove one"],
    ),
    "no root name": (VALID.replace('name = "s0"', ""), ["[[roots]] number 1 name is missing", 'name = "s0"']),
    "no root path": (VALID.replace("path =", "lab ="), ['[[roots]] "s0" path is missing', "directory to watch"]),
    "no archive kind": (VALID + "[archive.x]\n", ["[archive.x] kind is missing", "observe", "globus", "directory"]),
    "no endpoint": (VALID + '[archive.x]\nkind = "globus"\n', ["[archive.x] endpoint is missing", "UUID"]),
    "no directory": (VALID + '[archive.x]\nkind = "directory"\n', ["[archive.x] path is missing", "/mnt/nas"]),
    "number for a text": (VALID + "lab = 5\n", ['[[roots]] "s0" lab = 5', "not a text", "quotes"]),
    "word for a flag": (VALID + 'writable = "maybe"\n', ['writable = "maybe"', "true nor false"]),
    "number for a flag": (VALID + "writable = 1\n", ["writable = 1", "true nor false"]),
    "word for a number": (VALID + '[worker]\nmax_attempts = "many"\n', ['max_attempts = "many"', "whole number"]),
    "fraction for a number": (VALID + "[worker]\nmax_attempts = 2.0\n", ["max_attempts = 2.0", "whole number"]),
    "flag for a number": (VALID + "[worker]\nmax_attempts = true\n", ["max_attempts = true", "whole number"]),
    "number out of range": (VALID + "[registration]\nchunk = 0\n", ["[registration] chunk = 0", "1 to 1000"]),
    "text for a list": (VALID + '[control]\noperators = "anna"\n', ['operators = "anna"', "not a list", '["one"']),
    "list of numbers": (VALID + "[control]\noperators = [1]\n", ["operators = [1]", "list of texts"]),
    "value for a table": (TOP + "journal = 3\n" + ALYX + ROOT, ["[journal]", "must be a table"]),
    "roots in single brackets": (VALID.replace("[[roots]]", "[roots]"), ["[[roots]]", "double brackets"]),
    "no duration": (VALID + 'quiet = "soon"\n', ['quiet = "soon"', "not a duration", '"90s", "10m", "2h", "1d"']),
    "negative duration": (VALID + "quiet = -1\n", ["quiet = -1", "not a duration"]),
    "endless duration": (VALID + "quiet = inf\n", ["quiet", "hundred years"]),
    "scanning without pause": (VALID + "[detection]\nscan_every = 0\n", ["scan_every = 0", "longer than 0", '"30s"']),
    "time of day": (VALID + '[alerts]\ndigest = "24:00"\n', ['[alerts] digest = "24:00"', '"08:00"']),
    "enumeration": (VALID + 'layout = "ibk"\n', ['layout = "ibk"', "not one of ibl, aind, map", 'mean "ibl"?']),
    "enumeration, nothing near": (VALID + 'events = "x"\n', ['events = "x"', "not one of auto, off", "quotes"]),
    "log level": (VALID + '[log]\nlevel = "warn"\n', ['[log] level = "warn"', "debug, info, warning, error"]),
    "on_protected": (
        VALID + '[registration]\non_protected = "revision"\n',
        ['"revision"', "not available yet", "block"],
    ),
    "on_protected, nonsense": (VALID + '[registration]\non_protected = "x"\n', ['on_protected = "x"', "block"]),
    "archive kind": (VALID + '[archive.x]\nkind = "rsync"\n', ['[archive.x] kind = "rsync"', "observe, globus, dir"]),
    "endpoint": (
        VALID + '[archive.x]\nkind = "globus"\nendpoint = "mylab"\n',
        ['[archive.x] endpoint = "mylab"', "UUID", "copy it"],
    ),
    "own endpoint": (VALID + '[globus]\nendpoint = "mylab"\n', ['[globus] endpoint = "mylab"', "UUID"]),
    "relative destination": (
        VALID + '[archive.x]\nkind = "directory"\npath = "nas/{lab}"\n',
        ['[archive.x] path = "nas/{lab}"', "not absolute"],
    ),
    "relative collection path": (VALID + HPC + 'path = "data"\n', ['[archive.hpc] path = "data"', "not absolute"]),
    "placeholder": (
        VALID + HPC + 'path = "/d/{subject}"\n',
        ["/d/{subject}", "contains {subject}", "{lab} is the only"],
    ),
    "half a placeholder": (VALID + HPC + 'path = "/d/{lab"\n', ["/d/{lab", "contains {", "{lab} is the only"]),
    "relative root": (VALID.replace('"/mnt/s0', '"mnt/s0'), ['path = "mnt/s0', "not absolute"]),
    "home directory": (VALID.replace('"/mnt/s0', '"~/s0'), ['path = "~/s0', "~ and variables are not expanded"]),
    "dots in a path": (VALID.replace('"/mnt/s0', '"/mnt/../s0'), ['path = "/mnt/../s0', "contains .."]),
    "control character": (VALID.replace("/mnt/s0", "/mnt\\u0000/s0"), ["/mnt\\u0000/s0", "control character"]),
    "windows root": (VALID.replace("/mnt/s0", "E:\\\\s0"), ['path = "E:\\\\s0', "Windows path", "where it is mounted"]),
    "windows share": (VALID.replace("/mnt/s0", "\\\\\\\\srv"), ["Windows path", "where it is mounted"]),
    "windows collection": (VALID + HPC + 'path = "C:/Data"\n', ['path = "C:/Data"', "Windows path", "/C/Data"]),
    "windows local path": (VALID + '[globus]\nlocal_path = "C:\\\\"\n', ["[globus] local_path", "Windows path"]),
    "relative state_dir": ('state_dir = "state"\n' + VALID, ['state_dir = "state"', "not absolute"]),
    "server_name with a space": (VALID.replace("lab-server-1", "lab server"), ['"lab server"', "1 to 64 letters"]),
    "server_name too long": (VALID.replace("lab-server-1", "x" * 65), ["server_name", "1 to 64 letters"]),
    "server_name empty": (VALID.replace("lab-server-1", ""), ['server_name = ""', "1 to 64 letters"]),
    "root name": (VALID.replace('"s0"', '"s 0"'), ['name = "s 0"', "usable name"]),
    "archive name": (VALID + '[archive."a b"]\nkind = "observe"\n', ["[archive.a b]", "usable name"]),
    "time zone": (
        VALID.replace("[alyx]", '[alyx]\ntimezone = "Europe/Londn"'),
        ['[alyx] timezone = "Europe/Londn"', 'did you mean "Europe/London"?'],
    ),
    "time zone as a path": (VALID.replace("[alyx]", '[alyx]\ntimezone = "../x"'), ['timezone = "../x"', "IANA name"]),
    "address": (VALID.replace("https://", "ftp://"), ['url = "ftp://alyx', "not an address", "https://"]),
    "address without a host": (VALID.replace("alyx.example.org", ""), ['url = "https://"', "not an address"]),
    "listen": (VALID + '[metrics]\nlisten = "9477"\n', ['[metrics] listen = "9477"', "127.0.0.1:9477"]),
    "port": (VALID + '[metrics]\nlisten = "127.0.0.1:70000"\n', ["127.0.0.1:70000", "127.0.0.1:9477"]),
    "socket path": (VALID + f'[control]\nsocket = "/{"x" * 107}"\n', ["[control] socket", "107 bytes", "shorter"]),
    "ca_file": (VALID.replace("[alyx]", '[alyx]\nca_file = "ca.pem"'), ['ca_file = "ca.pem"', "not there", "correct"]),
    "secret without client_id": (
        VALID + '[globus]\nclient_secret_file = "alyx-password"\n',
        ["[globus] client_id is missing", "client_secret_file"],
    ),
    # between keys
    "same root name twice": (
        VALID + ROOT.replace("/mnt/s0", "/mnt/s1"),
        ['name = "s0"', "/mnt/s0", "each root its own"],
    ),
    "unknown archive": (VALID + 'archive = ["nsa"]\n' + NAS, ['archive = "nsa"', "not there", 'did you mean "nas"?']),
    "unknown archive, none defined": (VALID + 'archive = ["nas"]\n', ['archive = "nas"', "add a table [archive.nas]"]),
    "archive twice": (VALID + 'archive = ["nas", "nas"]\n' + NAS, ['archive = "nas"', "twice", "remove one"]),
    "globus archive without globus": (
        VALID + 'archive = ["hpc"]\n' + HPC,
        ['[[roots]] "s0" archive = "hpc"', "needs Globus on this machine", "client-id.txt"],
    ),
    "state_dir below a root": (
        'state_dir = "/mnt/s0/Data/Subjects/state"\n' + VALID,
        ["state_dir", 'lies inside root "s0"', "choose another place"],
    ),
    "archive below a root": (
        VALID + NAS.replace("/mnt/nas", "/mnt/s0/Data/Subjects/{lab}"),
        ["[archive.nas] path", 'lies inside root "s0"', "choose another place"],
    ),
    "root below an archive": (VALID + NAS.replace("/mnt/nas", "/mnt"), ["[archive.nas] path", 'contains root "s0"']),
}


@pytest.mark.parametrize(("text", "parts"), SINGLE.values(), ids=SINGLE.keys())
def test_a_mistake_is_one_line_with_file_key_value_and_way_out(file: ConfigFile, text: str, parts: list[str]) -> None:
    (line,) = file.errors(text)
    assert line.startswith(f"{file.path}:")
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (ROOT + '[archive.x]\nkind = "globus"\nendpoint = "mylab"\n', "[archive.x] endpoint", "UUID"),
        (ROOT + HPC + 'path = "data"\n', "[archive.hpc] path", "not absolute"),
        (ROOT + HPC + 'path = "D:\\\\data"\n', "[archive.hpc] path", "Globus writes C:\\Data as /C/Data"),
        (ROOT + NAS.replace("/mnt/nas", "nas"), "[archive.nas] path", "not absolute"),
        (ROOT + 'archive = ["nsa"]\n' + NAS, '[[roots]] "s0" archive', "not there"),
    ],
    ids=["endpoint", "collection path", "windows path", "directory", "unknown target"],
)
def test_map_01_a_bad_target_is_an_error_with_its_line(file: ConfigFile, text: str, key: str, says: str) -> None:
    (line,) = file.errors(TOP + ALYX + text)
    value = key.rpartition(" ")[2]
    rows = (TOP + ALYX + text).splitlines()
    number = max(n for n, row in enumerate(rows, start=1) if row.startswith(f"{value} = "))
    assert line.startswith(f"{file.path}:{number}: {key}")
    assert says in line


def test_map_01_the_line_of_the_file_is_named(file: ConfigFile) -> None:
    (line,) = file.errors(VALID + ROOT.replace("s0", "s1") + '# not here\nquiet = "x"\n')
    assert line.startswith(f'{file.path}:{(VALID + ROOT).count(chr(10)) + 2}: [[roots]] "s1" quiet')


# --- this machine's side of Globus ------------------------------------------------------------------------

GLOBUS = f'[globus]\nclient_id = "{ENDPOINT}"\nendpoint = "{ENDPOINT}"\n'


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("local_path", "D:\\\\Data", "where it is mounted on this machine"),
        ("local_path", "data", "not absolute"),
        ("endpoint_subdir", "D:/Data", "Globus writes C:\\Data as /C/Data"),
        ("endpoint_subdir", "Data", "not absolute"),
        ("local_endpoint_subdir", "D:/Data", "Globus writes C:\\Data as /C/Data"),
        ("local_endpoint_local_path", "D:\\\\Data", "where it is mounted on this machine"),
    ],
)
def test_map_02_a_path_that_cannot_be_is_an_error_with_its_line(
    file: ConfigFile, key: str, value: str, says: str
) -> None:
    text = VALID + GLOBUS + f'{key} = "{value}"\n'
    (line,) = file.errors(text)
    assert line.startswith(f"{file.path}:{text.count(chr(10))}: [globus] ")
    assert says in line


@pytest.mark.parametrize("path", ["/mnt/s0/Data", "/mnt/s0/Data/Subjects/KS005", "/mnt/s0/Data/Sub", "/data"])
def test_map_02_a_root_that_the_collection_does_not_show_is_an_error(file: ConfigFile, path: str) -> None:
    text = VALID + 'archive = ["hpc"]\n' + HPC + GLOBUS + f'local_path = "{path}"\n'
    if path == "/mnt/s0/Data":
        assert file.errors(text) == []
        return
    (line,) = file.errors(text)
    assert line.startswith(f'{file.path}:8: [[roots]] "s0" path = "/mnt/s0/Data/Subjects" is not below ')
    assert f"[globus] local_path ({path})" in line
    assert 'archive "hpc"' in line
    assert "set local_path" in line
    assert "endpoint_subdir" in line


def test_map_02_a_root_without_globus_may_lie_anywhere(file: ConfigFile) -> None:
    assert file.errors(VALID + 'archive = ["nas"]\n' + NAS + HPC + GLOBUS + 'local_path = "/data"\n') == []


MAP_EPHYS = {
    "local_endpoint": "endpoint",
    "local_endpoint_subdir": "endpoint_subdir",
    "local_endpoint_local_path": "local_path",
}


def test_map_02_the_flat_names_of_map_ephys_are_understood(file: ConfigFile) -> None:
    flat = {"local_endpoint": ENDPOINT, "local_endpoint_subdir": "/C/Data", "local_endpoint_local_path": "/mnt/s0"}
    text = "".join(f'globus.{name} = "{value}"\n' for name, value in flat.items())
    text += f'globus.client_id = "{ENDPOINT}"\n'
    config = file.load(TOP + text + ALYX + ROOT + 'archive = ["hpc"]\n' + HPC)
    assert {name: getattr(config.globus, key) for name, key in MAP_EPHYS.items()} == flat


@pytest.mark.parametrize("alias", MAP_EPHYS)
def test_map_02_both_names_of_a_key_are_one_too_many(file: ConfigFile, alias: str) -> None:
    values = {"endpoint": ENDPOINT, "endpoint_subdir": "/a", "local_path": "/b"}
    key = MAP_EPHYS[alias]
    text = VALID + f'[globus]\n{key} = "{values[key]}"\n{alias} = "{values[key]}"\n'
    (line,) = file.errors(text)
    assert line.startswith(f"{file.path}:{text.count(chr(10))}: [globus] {alias} is another name of {key}")
    assert line.endswith("remove one of them")


def test_map_02_the_environment_wins_under_either_name(file: ConfigFile) -> None:
    text = VALID + f'[globus]\nlocal_endpoint = "{ENDPOINT}"\n'
    other = ENDPOINT.replace("0", "f")
    for name in ("ENDPOINT", "LOCAL_ENDPOINT"):
        assert file.load(text, **{f"LABFERRY_GLOBUS__{name}": other}).globus.endpoint == other
    (line,) = file.errors(VALID, LABFERRY_GLOBUS__LOCAL_ENDPOINT="mylab")
    assert line.startswith("LABFERRY_GLOBUS__LOCAL_ENDPOINT: [globus] endpoint")


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("/mnt/a", "/mnt/a", "lies inside"),
        ("/mnt/a", "/mnt//a/./b/", "lies inside"),
        ("/mnt/a/b", "/mnt/a", "contains"),
        ("/", "/mnt/a", "lies inside"),
    ],
)
def test_ruling_03_roots_must_not_be_nested(file: ConfigFile, first: str, second: str, says: str) -> None:
    text = 'state_dir = "/srv"\n' + TOP + ALYX
    text += "".join(
        f'[[roots]]\nname = "{name}"\npath = "{path}"\nrepository = "r"\n'
        for name, path in [("r1", first), ("r2", second)]
    )
    lines = [line for line in file.errors(text) if "state_dir" not in line]
    assert len(lines) == 1
    assert all(part in lines[0] for part in ('[[roots]] "r2" path', says, f'root "r1" ({first})', "must not be nested"))


def test_ruling_03_a_common_beginning_of_the_name_is_not_nesting(file: ConfigFile) -> None:
    text = VALID.replace("/mnt/s0/Data/Subjects", "/mnt/data") + ROOT.replace("s0", "s1").replace(
        "/mnt/s1/Data/Subjects", "/mnt/data2"
    )
    assert file.errors(text) == []


def test_ruling_14_without_globus_a_registering_root_needs_its_repository(file: ConfigFile) -> None:
    (line,) = file.errors(TOP + ALYX + NO_REPOSITORY)
    assert '[[roots]] "s0" repository is missing' in line
    assert str(file.directory / "home" / ".globusonline" / "lta" / "client-id.txt") in line
    assert "[globus] endpoint" in line
    assert file.errors(TOP + ALYX + NO_REPOSITORY + "register = false\n") == []


def test_ruling_14_config_dir_says_where_to_look(file: ConfigFile) -> None:
    (line,) = file.errors(TOP + ALYX + NO_REPOSITORY + '[globus]\nconfig_dir = "/nowhere"\n')
    assert "/nowhere/lta/client-id.txt" in line


def test_reg_16_a_garbage_id_of_connect_personal_is_named(file: ConfigFile) -> None:
    client_id = file.directory / "home" / ".globusonline" / "lta" / "client-id.txt"
    client_id.parent.mkdir(parents=True)
    client_id.write_bytes(b"\xff not an id\n")
    (line,) = file.errors(TOP + ALYX + NO_REPOSITORY)
    assert f"[globus] endpoint is not set, and {client_id} holds no UUID" in line


@pytest.mark.parametrize("completion", ["manifest", "metadata"])
def test_a_rule_of_completion_that_its_layout_does_not_know_is_refused(file: ConfigFile, completion: str) -> None:
    (line,) = file.errors(VALID + f'completion = "{completion}"\n')
    assert all(part in line for part in ('[[roots]] "s0" completion', completion, "auto, flag, spikeglx or quiet"))


@pytest.mark.parametrize(
    ("table", "key"), [("detection", "consume_flag"), ("registration", "compat_renames")], ids=["flag", "renames"]
)
def test_ruling_29_what_writes_below_a_root_needs_writable(file: ConfigFile, table: str, key: str) -> None:
    setting = f"[{table}]\n{key} = true\n"
    (line,) = file.errors(VALID + setting)
    assert f"[{table}] {key} = true" in line
    assert 'writable = true in [[roots]] "s0"' in line
    assert file.errors(VALID + "writable = true\n" + setting) == []


def test_map_08_an_archive_through_globus_needs_an_application(file: ConfigFile) -> None:
    text = VALID + 'archive = ["hpc"]\n' + HPC
    (line,) = file.errors(text + f'[globus]\nendpoint = "{ENDPOINT}"\n')
    assert all(part in line for part in ("[globus] client_id is missing", "archive hpc", "client_secret_file"))
    assert file.errors(text + GLOBUS) == [], "without a secret a person logs in"
    assert file.errors(VALID + HPC + f'[globus]\nendpoint = "{ENDPOINT}"\n') == [], "no root uses it"


def test_naming_alyx_needs_registered_files(file: ConfigFile) -> None:
    (line,) = file.errors(VALID + 'register = false\narchive = ["nas"]\n' + NAS)
    assert all(part in line for part in ('archive = "nas"', 'naming = "alyx"', "register = true", 'naming = "plain"'))
    assert file.errors(VALID + 'register = false\narchive = ["nas"]\n' + NAS + 'naming = "plain"\n') == []


def test_ruling_17_observing_needs_a_repository(file: ConfigFile) -> None:
    (line,) = file.errors(VALID + 'archive = ["flatiron"]\n' + FLATIRON + 'repository = ""\n')
    assert '[archive.flatiron] repository = "" leaves nothing to look at' in line
    assert "remove the line" in line


def test_ruling_17_observing_needs_registered_sessions(file: ConfigFile) -> None:
    (line,) = file.errors(VALID + 'register = false\narchive = ["flatiron"]\n' + FLATIRON)
    assert all(part in line for part in ('archive = "flatiron"', "register = true"))


# --- secrets in the wrong place ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "instead"),
    [
        ("alyx", "password", "password_file"),
        ("alyx", "token", "token_file"),
        ("globus", "client_secret", "client_secret_file"),
        ("alerts", "urls", "urls_file"),
        ("alerts", "dead_man_url", "dead_man_url_file"),
    ],
)
def test_a_secret_in_the_file_or_environment_is_refused_and_not_repeated(
    file: ConfigFile, table: str, key: str, instead: str
) -> None:
    in_file = (
        VALID + f'[{table}]\n{key} = "hunter2"\n'
        if table != "alyx"
        else VALID.replace("[alyx]", f'[alyx]\n{key} = "hunter2"')
    )
    variable = f"LABFERRY_{table}__{key}".upper()
    for line in (*file.errors(in_file), *file.errors(VALID, **{variable: "hunter2"})):
        assert f"[{table}] {key} is a secret" in line
        assert line.endswith(instead)
        assert "hunter2" not in line
    assert file.errors(VALID, **{variable: "hunter2"})[0].startswith(f"{variable}: ")


def test_values_that_may_hold_a_secret_are_not_repeated(file: ConfigFile) -> None:
    lines = file.errors(
        VALID.replace("https://alyx", "https://me:hunter2@alyx").replace("[alyx]", '[alyx]\npasword = "hunter2"')
        + '[alerts]\nurls_file = "mailto://me:hunter2@example.org"\n'
    )
    assert len(lines) == 3
    assert "hunter2" not in "".join(lines)
    assert any("[alyx] url contains a user name or password" in line for line in lines)


# --- environment ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "parts"),
    [
        ("LABFERRY_ALYX__TIMEOUT", "soon", ['[alyx] timeout = "soon"', "not a duration"]),
        ("LABFERRY_ALYX__TIMEOT", "1s", ["[alyx] timeot", 'did you mean "timeout"?']),
        ("LABFERRY_WORKER__SEAL_WORKERS", "two", ['seal_workers = "two"', "whole number"]),
        ("LABFERRY_CONTROL__OPERATORS", "anna", ['operators = "anna"', "not a list"]),
        ("LABFERRY_ROOTS", "[{]", ["[[roots]]", "not JSON"]),
        ("LABFERRY_ROOTS", '[{"name": "s9"}]', ['[[roots]] "s9" path is missing']),
        ("LABFERRY_ROOTS", '{"name": "s9"}', ["[[roots]]", "list of tables"]),
        ("LABFERRY_ROOTS", "[3]", ["[[roots]] number 1", "must be a table"]),
        ("LABFERRY_SERVER_NAME", "\udcff", ["server_name", "\\udcff"]),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    file: ConfigFile, variable: str, value: str, parts: list[str]
) -> None:
    (line,) = file.errors(VALID, **{variable: value})
    assert line.startswith(f"{variable}: ")
    assert [part for part in parts if part not in line] == []


# --- the file itself --------------------------------------------------------------------------------------


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert caught.value.exit_code == ExitCode.BAD_CONFIG
    assert caught.value.hint
    return caught.value


def test_a_missing_file_is_named_with_the_ways_out(tmp_path: Path) -> None:
    error = refused(tmp_path / "none.toml")
    assert str(tmp_path / "none.toml") in error.message
    assert "labferry config example" in error.hint


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    assert "Is a directory" in refused(tmp_path).message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TOP + "state_dir = /var\n", "line 2, column 13"),
        (TOP + "\n[alyx\n", "line 3, column 6"),
        (TOP + TOP, "line 2, column"),
        ('x = "', "end of document"),
        ("x = " + "[" * 10_000, "recursion"),
        (f"x = {'9' * 5000}", "digits"),
    ],
    ids=["value", "header", "twice", "end", "deep", "large"],
)
def test_broken_toml_names_line_and_column(file: ConfigFile, text: str, place: str) -> None:
    file.path.write_text(text, encoding="utf-8")
    error = refused(file.path)
    assert error.message.startswith(f"{file.path}: ")
    assert place in error.message


def test_a_file_that_is_not_utf_8_names_the_line(file: ConfigFile) -> None:
    file.path.write_bytes(TOP.encode() + b'[alyx]\nusername = "J\xfcrgen"\n')
    error = refused(file.path)
    assert f"{file.path}:3: the byte 0xfc is not UTF-8" in error.message
    assert "UTF-8" in error.hint


def test_a_byte_order_mark_does_no_harm(file: ConfigFile) -> None:
    assert file.errors("\ufeff" + VALID) == []


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(file: ConfigFile) -> None:
    text = (
        VALID.replace("lab-server-1", "lab server").replace("[alyx]", '[alyx]\ntimeout = "soon"')
        + "layot = 1\n"
        + ROOT.replace("s0", "s1")
        + ROOT.replace('"s0"', '"s2"').replace("s0/Data", "s1/Data")
        + 'archive = ["nsa"]\n'
        + '[archive.nas]\nkind = "rsync"\n'
        + "[detection]\nconsume_flag = true\n"
    )
    lines = file.errors(text)
    expected = ["server_name", "[alyx] timeout", '"s0" layot', '"s2" path', '"s2" archive', "[archive.nas] kind"]
    assert [part for line, part in zip(lines, expected, strict=False) if part not in line] == []
    assert [line for line in lines[len(expected) :] if "[detection] consume_flag" not in line] == []
    assert len(lines) == len(expected) + 2
