"""From a file and an environment to a checked configuration, or to all that is wrong with it.

Reads the configuration, looks at the files it names and at Globus Connect Personal's id; writes nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping

from pydantic import ValidationError

from labferry.config import credentials, rules
from labferry.config.model import Config
from labferry.config.parts import well_formed
from labferry.config.problems import NOTHING, Problem, from_pydantic, lines
from labferry.config.source import Source, config_path, read
from labferry.config.values import is_uuid
from labferry.errors import ConfigError


def load(path: str | None = None, environ: Mapping[str, str] = os.environ, *, check_secrets: bool = True) -> Config:
    """Read, check and resolve the configuration.

    Parameters
    ----------
    path : str, optional
        The file; without it LABFERRY_CONFIG, then /etc/labferry/config.toml.
    environ : Mapping
        LABFERRY_* variables lie over the file; CREDENTIALS_DIRECTORY and HOME are used too.
    check_secrets : bool
        Whether secret files must be there and readable. A command that only shows the configuration, perhaps
        to a user who may not read them, does without.

    Returns
    -------
    Config
        Names of secret files are whole paths, `globus.endpoint` is Connect Personal's id where none was set,
        and `warnings` says what deserves a look.

    Raises
    ------
    ConfigError
        The file cannot be read, or something in it cannot be used: one line in `message` for each finding.
    """
    return checked(read(config_path(path, environ), environ), check_secrets=check_secrets)


def checked(source: Source, *, check_secrets: bool = True) -> Config:
    """Check and resolve what was read.

    Raises
    ------
    ConfigError
        As `load`.
    """
    files = _Files(source, check_secrets)
    problems = []
    config = None
    try:
        config = Config.model_validate(source.table)
    except ValidationError as error:
        problems = [from_pydantic(finding) for finding in error.errors(include_url=False)]
    problems += [*files.problems, *rules.problems(well_formed(source.table, files.no_globus))]
    if problems or config is None:
        raise ConfigError("\n".join(lines(source, problems)), "`labferry config example` explains every key.")
    resolved = config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in files.found.items()}
    )
    warnings = lines(source, [*files.warnings, *rules.warnings(resolved)])
    return resolved.loaded(source.path, (*warnings, *source.foreign_variables()))


class _Files:
    """The files a configuration names, found.

    Attributes
    ----------
    found : dict
        Section, key and the value that replaces what was written.
    problems, warnings : list
        What is wrong with them.
    no_globus : str
        Where Connect Personal's id was looked for in vain; empty when there is a Globus endpoint here.
    """

    def __init__(self, source: Source, check_secrets: bool) -> None:
        self.found: dict[str, dict[str, str]] = defaultdict(dict)
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.no_globus = ""
        self._source = source
        beside = os.path.dirname(source.path)
        for section, key in credentials.SECRET_FILES:
            if name := self._written(section, key):
                self._note(section, key, credentials.find_secret(name, beside, source.environ), check_secrets)
        if name := self._written("alyx", "ca_file"):
            self._note("alyx", "ca_file", credentials.find_file(name, beside), check=True)
        if not self._written("globus", "endpoint"):
            self._find_endpoint()

    def _written(self, section: str, key: str) -> str:
        table = self._source.table.get(section)
        value = table.get(key) if isinstance(table, dict) else None
        return value if isinstance(value, str) else ""

    def _note(self, section: str, key: str, found: credentials.Found, check: bool) -> None:
        self.found[section][key] = found.path
        value = NOTHING if found.hidden else self._written(section, key)
        if found.problem and check:
            self.problems.append(Problem((section, key), found.problem, value))
        if found.warning:
            self.warnings.append(Problem((section, key), found.warning, value))

    def _find_endpoint(self) -> None:
        file = credentials.personal_endpoint_file(self._written("globus", "config_dir"), self._source.environ)
        try:
            endpoint = credentials.personal_endpoint(file)
        except ConfigError as error:
            self.problems.append(Problem(("globus", "endpoint"), f"is not set, and {error.message}; {error.hint}"))
            return
        if not endpoint:
            self.no_globus = file
        elif is_uuid(endpoint):
            self.found["globus"]["endpoint"] = endpoint.lower()
        else:
            self.problems.append(
                Problem(
                    ("globus", "endpoint"),
                    f"is not set, and {file} holds no UUID; set up Globus Connect Personal again, or set endpoint",
                )
            )
