"""The configuration as it comes out: defaults, environment, resolved files, the example, the reference page."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import time
from pathlib import Path

import pytest

from labferry.config import Config, DirectoryArchive, GlobusArchive, Root, effective, load, show
from labferry.config.model import ARCHIVE_KINDS
from labferry.config.problems import keys_of
from support.config_file import ALYX, ROOT, TOP, VALID, ConfigFile, config_file

REPOSITORY = Path(__file__).resolve().parents[2]
CONTRACT = REPOSITORY.parent / "shared" / "contract" / "config.toml"
EXAMPLE = REPOSITORY / "etc" / "config.example.toml"
ENDPOINT = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return config_file(tmp_path)


def all_keys() -> Iterator[tuple[str, str]]:
    """Yield every table and key the configuration knows."""
    for name, field in Config.model_fields.items():
        if name == "roots":
            yield from (("roots", key) for key in keys_of(Root))
        elif name == "archive":
            for model in ARCHIVE_KINDS.values():
                yield from (("archive", key) for key in keys_of(model))
        elif isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            yield from ((name, key) for key in keys_of(field.annotation))
        else:
            yield "", name


def test_minimal_configuration_gets_the_defaults(file: ConfigFile) -> None:
    config = file.load()
    root = config.root("s0")
    assert config.state_dir == "/var/lib/labferry"
    assert config.alyx.timeout == 60.0
    assert config.registration.chunk == 50
    assert (config.registration.resend_after, config.registration.resend_look_every) == (30.0, 15.0)
    assert root.registers
    assert root.archive == ()
    assert config.warnings == ()
    assert config.path == str(file.path)


def test_values_arrive_with_their_types(file: ConfigFile) -> None:
    config = file.load(
        VALID
        + 'archive = ["nas", "hpc"]\n'
        + '[archive.nas]\nkind = "directory"\npath = "/mnt/nas//{lab}/"\nnaming = "plain"\nrepository = ""\n'
        + f'[archive.hpc]\nkind = "globus"\nendpoint = "{ENDPOINT.upper()}"\npath = "/data/{{lab}}"\n'
        + f'[globus]\nclient_id = "{ENDPOINT}"\nendpoint = "{ENDPOINT}"\n'
        + '[alerts]\ndigest = "08:00"\n[detection]\nquiet = "2m"\nscan_every = 0.5\n'
        + '[metrics]\nlisten = "[::1]:9477"\n'
    )
    nas, hpc = config.archive["nas"], config.archive["hpc"]
    assert isinstance(nas, DirectoryArchive)
    assert nas.path == "/mnt/nas/{lab}"
    assert isinstance(hpc, GlobusArchive)
    assert hpc.endpoint == ENDPOINT
    assert config.alerts.digest == time(8, 0)
    assert (config.detection.quiet, config.detection.scan_every) == (120.0, 0.5)


def test_a_roots_quiet_period_falls_back_to_that_of_detection(file: ConfigFile) -> None:
    text = (
        VALID + 'quiet = "5s"\n' + ROOT.replace("s0", "s1") + '[detection]\nquiet = "7s"\nquiet_without_signal = "3m"\n'
    )
    config = file.load(text)
    assert [config.quiet(root) for root in config.roots] == [5.0, 7.0]
    assert config.quiet_without_signal(config.root("s0")) == 180.0


@pytest.mark.parametrize(("layout", "registers"), [("ibl", True), ("aind", False), ("map", False)])
def test_the_layout_decides_whether_sessions_are_registered(file: ConfigFile, layout: str, registers: bool) -> None:
    assert file.load(VALID + f'layout = "{layout}"\n').root("s0").registers is registers
    assert Config.layout_defaults[layout]["register"] is registers
    assert file.load(VALID + f'layout = "{layout}"\nregister = true\n').root("s0").registers


def test_an_unknown_root_is_a_key_error(file: ConfigFile) -> None:
    with pytest.raises(KeyError, match="s7"):
        file.load().root("s7")


def test_nothing_in_it_can_be_changed(file: ConfigFile) -> None:
    config = file.load()
    with pytest.raises(ValueError, match="frozen"):
        config.alyx.timeout = 1.0
    with pytest.raises(ValueError, match="frozen"):
        config.server_name = "other"


# --- environment ------------------------------------------------------------------------------------------


def test_ruling_30_the_environment_overrides_scalar_keys(file: ConfigFile) -> None:
    config = file.load(
        VALID + '[archive.NAS]\nkind = "directory"\npath = "/mnt/nas"\n',
        LABFERRY_ALYX__URL="https://other.example.org/",
        LABFERRY_STATE_DIR="/srv/labferry",
        LABFERRY_DETECTION__CONSUME_FLAG="false",
        LABFERRY_REGISTRATION__CHUNK="7",
        LABFERRY_DETECTION__QUIET="1.5",
        LABFERRY_CONTROL__OPERATORS='["anna"]',
        LABFERRY_ARCHIVE__NAS__PATH="/mnt/other",
    )
    nas = config.archive["NAS"]
    assert isinstance(nas, DirectoryArchive)
    assert nas.path == "/mnt/other"
    assert config.alyx.url == "https://other.example.org"
    assert config.alyx.username == "lab_server"
    assert config.state_dir == "/srv/labferry"
    assert (config.registration.chunk, config.detection.quiet) == (7, 1.5)
    assert config.control.operators == ("anna",)


def test_ruling_30_roots_come_from_the_environment_as_a_whole(file: ConfigFile) -> None:
    config = file.load(VALID, LABFERRY_ROOTS='[{"name": "s9", "path": "/mnt/s9", "repository": "r"}]')
    assert [root.name for root in config.roots] == ["s9"]


def test_labferry_config_names_the_file(file: ConfigFile) -> None:
    file.load()
    assert load(None, {**file.environ, "LABFERRY_CONFIG": str(file.path)}).path == str(file.path)


def test_a_variable_that_is_no_key_is_a_warning(file: ConfigFile) -> None:
    warnings = file.load(VALID, LABFERRY_ALIX__URL="https://x.example.org", LABFERRY_STATE="x").warnings
    assert len(warnings) == 2
    assert "LABFERRY_ALIX__URL" in warnings[0]
    assert "LABFERRY_ALYX" in warnings[0]


# --- Globus -----------------------------------------------------------------------------------------------


def test_ruling_14_connect_personals_id_is_taken_where_no_endpoint_is_set(file: ConfigFile) -> None:
    client_id = file.directory / "home" / ".globusonline" / "lta" / "client-id.txt"
    client_id.parent.mkdir(parents=True)
    client_id.write_text(f" {ENDPOINT}\n", encoding="utf-8")
    text = VALID.replace('repository = "mylab_server"\n', "")
    assert file.load(text).globus.endpoint == ENDPOINT


def test_ruling_14_a_configured_endpoint_makes_the_repository_optional(file: ConfigFile) -> None:
    text = VALID.replace('repository = "mylab_server"\n', "") + f'[globus]\nendpoint = "{ENDPOINT}"\n'
    assert file.load(text).root("s0").repository == ""


# --- warnings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addition", "says"),
    [
        ('[globus]\ntransfer_url = "http://127.0.0.1:1/"\n', ["[globus] transfer_url", "sandbox"]),
        ('[registration]\nresend_after = "1s"\n', ["[registration] resend_after", "30 s"]),
        (
            '[archive.nas]\nkind = "directory"\npath = "/mnt/nas"\nnaming = "plain"\n',
            ['[archive.nas] repository = "auto"', "ONE", 'repository = ""'],
        ),
        ("register = false\n", ['[[roots]] "s0" archive', "only listed"]),
    ],
)
def test_what_deserves_a_look_is_a_warning(file: ConfigFile, addition: str, says: list[str]) -> None:
    (warning,) = file.load(VALID + addition).warnings
    assert all(part in warning for part in says)


def test_an_unencrypted_alyx_is_a_warning_unless_it_is_this_machine(file: ConfigFile) -> None:
    (warning,) = file.load(VALID.replace("https://alyx.example.org", "http://alyx.example.org")).warnings
    assert "not encrypted" in warning
    assert file.load(VALID.replace("https://alyx.example.org", "http://127.0.0.1:8000")).warnings == ()


def test_nothing_to_watch_is_a_warning(file: ConfigFile) -> None:
    (warning,) = file.load(TOP + ALYX).warnings
    assert "[[roots]]" in warning


# --- what is shown ----------------------------------------------------------------------------------------


def test_what_is_shown_loads_again_and_says_the_same(file: ConfigFile) -> None:
    config = file.load(
        VALID
        + 'archive = ["a.b"]\nquiet = "90s"\nlab = "tab\\t quote\\" del\\u007f é"\n'
        + '[archive."a.b"]\nkind = "directory"\npath = "/mnt/nas"\n[alerts]\ndigest = "08:00"\n'
    )
    again = file.load(show(config))
    assert show(again) == show(config)
    assert effective(again) == effective(config)
    assert 'quiet = "90s"' in show(config)
    assert 'quiet_without_signal = "10m"' in show(config)


def test_no_secret_is_shown(file: ConfigFile) -> None:
    config = file.load()
    assert "not-a-real-one" not in show(config) + repr(config) + repr(effective(config))
    assert str(file.directory / "alyx-password") in show(config)


# --- contract, example, reference -------------------------------------------------------------------------


MINIMAL: dict[str, dict[str, object]] = {
    "": {"server_name": "x", "alyx": {"url": "https://alyx.example.org"}},
    "alyx": {"url": "https://alyx.example.org"},
    "roots": {"name": "s0", "path": "/mnt/s0"},
    "archive.flatiron": {"kind": "observe"},
    "archive.hpc": {"kind": "globus", "endpoint": ENDPOINT},
    "archive.nas": {"kind": "directory", "path": "/mnt/nas"},
}
CONTRACT_KEY = re.compile(r"(?:# )?([a-z_]+ = .+?)(?:\s+# (?:\[(required|default|example)\b(?: (\[\]))?.*)?.*)?")


def contract_keys() -> Iterator[tuple[str, str, object, str]]:
    """Yield table, key, value and mark of every key in the contract; the value of a default is the default."""
    table = ""
    for line in CONTRACT.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[\[?([a-z.]+)\]\]?", line):
            table = header[1]
        elif match := CONTRACT_KEY.fullmatch(line):
            ((key, value),) = tomllib.loads(match[1]).items()
            yield table, key, [] if match[3] else value, match[2] or ""


def section(table: str, values: dict[str, object]) -> object:
    config = MINIMAL[""] | (values if table == "" else {})
    if table == "roots":
        return Config.model_validate(config | {"roots": [values]}).roots[0]
    if table.startswith("archive."):
        return Config.model_validate(config | {"archive": {"x": values}}).archive["x"]
    return getattr(Config.model_validate(config | {table: values}), table) if table else Config.model_validate(config)


@pytest.mark.skipif(not CONTRACT.exists(), reason="the contract is not beside this clone")
def test_every_key_of_the_contract_is_known_with_its_default() -> None:
    keys = list(contract_keys())
    assert len(keys) > 80
    assert sum(mark == "default" for *_, mark in keys) > 55
    known = set(all_keys())
    for table, key, value, mark in keys:
        assert (table.partition(".")[0], key) in known
        minimal = MINIMAL.get(table, {})
        if mark == "default":
            assert section(table, {**minimal, key: value}) == section(table, minimal), (table, key)


@pytest.mark.skipif(not CONTRACT.exists(), reason="the contract is not beside this clone")
def test_the_contract_itself_is_a_valid_configuration(file: ConfigFile) -> None:
    config = file.load(CONTRACT.read_text(encoding="utf-8").replace('repository = ""  ', 'repository = "r"  ', 1))
    assert list(config.archive) == ["flatiron", "hpc", "nas"]


def test_the_example_loads_once_the_password_is_there(file: ConfigFile) -> None:
    config = file.load(EXAMPLE.read_text(encoding="utf-8"))
    assert config.warnings == ()
    assert config.root("s0").archive == ("flatiron",)


def test_the_settings_that_the_example_shows_are_the_defaults(file: ConfigFile) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    plain = file.load(text)
    for name in ("alert-urls", "dead-man-url"):
        (file.directory / name).write_text("https://example.org/\n", encoding="utf-8")
        (file.directory / name).chmod(0o600)
    everything = re.sub(r"^#(?=\[|(?!token_file)[a-z_]+ = )", "", text, flags=re.MULTILINE)
    shown = file.load(everything)
    assert set(shown.archive) == {"flatiron", "hpc", "nas"}
    examples = {"archive": plain.archive, "alerts": plain.alerts}
    assert effective(shown.model_copy(update=examples)) == effective(plain)


def test_the_example_and_the_reference_name_every_key() -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    reference = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    for table, key in all_keys():
        if key not in ("roots", "archive") or table:
            assert re.search(rf"^#?{key} = ", example, re.MULTILINE), (table, key)
        assert re.search(rf"\b{key}\b", reference), (table, key)
