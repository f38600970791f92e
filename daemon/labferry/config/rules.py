"""What has to hold between keys, and what deserves a look although it is allowed.

Pure: takes the well-formed parts of a configuration and yields problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from labferry.config.model import Config, DirectoryArchive, GlobusArchive, ObserveArchive, Root
from labferry.config.parts import Parts
from labferry.config.problems import Problem
from labferry.config.values import nearest


def problems(parts: Parts) -> Iterator[Problem]:
    """Yield everything that contradicts something else."""
    for rule in _RULES:
        yield from rule(parts)


def _login(parts: Parts) -> Iterator[Problem]:
    alyx = parts.alyx
    if alyx is None:
        return
    if alyx.token_file and alyx.password_file:
        yield Problem(("alyx", "token_file"), "cannot stand beside password_file; remove one of them", alyx.token_file)
    elif not alyx.token_file and not alyx.username:
        yield Problem(("alyx", "username"), "is missing; add the Alyx user of this server, or token_file instead")
    if not alyx.token_file and not alyx.password_file:
        yield Problem(
            ("alyx", "password_file"), 'is missing; add the file with the password, as password_file = "alyx-password"'
        )


def _credentials(parts: Parts) -> Iterator[Problem]:
    if parts.globus is None or parts.globus.client_id:
        return
    if parts.globus.client_secret_file:
        yield Problem(("globus", "client_id"), "is missing; client_secret_file needs the client_id it belongs to")
        return
    for root in parts.roots.values():
        for name in root.archive:
            if isinstance(parts.archives.get(name), GlobusArchive) and not parts.no_globus:
                yield Problem(
                    ("globus", "client_id"),
                    f"is missing; archive {name} is reached through Globus, where this server needs an application of "
                    "its own: add its client_id, and client_secret_file if it has a secret",
                )
                return


def _names(parts: Parts) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, root in parts.roots.items():
        first = seen.setdefault(root.name, number)
        if first != number:
            other = parts.roots[first].path
            yield Problem(
                ("roots", number, "name"), f"is also the name of the root {other}; give each root its own", root.name
            )


def inside(path: str, directory: str) -> bool:
    """Tell whether a path is a directory or below it, by its name alone."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _nesting(parts: Parts) -> Iterator[Problem]:
    for number, root in parts.roots.items():
        location = ("roots", number, "path")
        for earlier, other in parts.roots.items():
            if earlier < number and (inside(root.path, other.path) or inside(other.path, root.path)):
                relation = "lies inside" if inside(root.path, other.path) else "contains"
                yield Problem(
                    location,
                    f'{relation} root "{other.name}" ({other.path}); roots must not be nested, keep one of the two',
                    root.path,
                )
        if parts.state_dir and inside(parts.state_dir, root.path):
            yield Problem(
                ("state_dir",),
                f'lies inside root "{root.name}" ({root.path}), where nothing is ever written; choose another place',
                parts.state_dir,
            )
        for name, archive in parts.archives.items():
            if isinstance(archive, DirectoryArchive):
                yield from _archive_apart(name, archive.path, root)


def _archive_apart(name: str, path: str, root: Root) -> Iterator[Problem]:
    fixed = path.partition("{")[0].rstrip("/")
    if inside(fixed, root.path) or inside(root.path, fixed):
        relation = "lies inside" if inside(fixed, root.path) else "contains"
        yield Problem(
            ("archive", name, "path"),
            f'{relation} root "{root.name}" ({root.path}); an archive and a root must lie apart, choose another place',
            path,
        )


def _archives(parts: Parts) -> Iterator[Problem]:
    for number, root in parts.roots.items():
        location = ("roots", number, "archive")
        for name in dict.fromkeys(root.archive):
            if name not in parts.archive_names:
                known = f"; known are {', '.join(parts.archive_names)}" if parts.archive_names else ""
                way_out = nearest(name, parts.archive_names) or f"; add a table [archive.{name}]{known}"
                yield Problem(location, f"names an archive that is not there{way_out}", name)
            elif root.archive.count(name) > 1:
                yield Problem(location, "names this archive twice; remove one of them", name)
            else:
                yield from _archive_fits(parts, location, root, name)


def _archive_fits(parts: Parts, location: tuple[str | int, ...], root: Root, name: str) -> Iterator[Problem]:
    archive = parts.archives.get(name)
    if not root.registers and isinstance(archive, ObserveArchive):
        yield Problem(
            location, "is filled by Alyx, which only knows registered sessions; set register = true or remove it", name
        )
    if not root.registers and isinstance(archive, GlobusArchive | DirectoryArchive) and archive.naming == "alyx":
        yield Problem(
            location,
            'has naming = "alyx", which puts the dataset UUID of registered files into their names; '
            'set register = true here or naming = "plain" there',
            name,
        )
    if isinstance(archive, GlobusArchive) and parts.no_globus:
        yield Problem(location, f"needs Globus on this machine; {_globus_ways_out(parts)}", name)


def _observed(parts: Parts) -> Iterator[Problem]:
    for name, archive in parts.archives.items():
        if isinstance(archive, ObserveArchive) and not archive.repository:
            yield Problem(
                ("archive", name, "repository"),
                "leaves nothing to look at: Alyx moves the files into a data repository; name it, or remove the line",
                archive.repository,
            )


def _shown_by_globus(parts: Parts) -> Iterator[Problem]:
    """Yield the roots that this machine's collection does not show: Globus cannot fetch from there."""
    if parts.globus is None:
        return
    shown = parts.globus.local_path
    for number, root in parts.roots.items():
        through = [name for name in root.archive if isinstance(parts.archives.get(name), GlobusArchive)]
        if through and not inside(root.path, shown):
            yield Problem(
                ("roots", number, "path"),
                f'is not below [globus] local_path ({shown}), so archive "{through[0]}" cannot fetch it from there; '
                "set local_path to a directory that holds the root, and endpoint_subdir to what this machine's "
                "collection calls that directory",
                root.path,
            )


def _globus_ways_out(parts: Parts) -> str:
    return (
        "set [globus] endpoint to this machine's collection, or install Globus Connect Personal for the service user "
        f"(its id was looked for in {parts.no_globus})"
    )


def _repository(parts: Parts) -> Iterator[Problem]:
    for number, root in parts.roots.items():
        if root.registers and not root.repository and parts.no_globus:
            yield Problem(
                ("roots", number, "repository"),
                "is missing; without Globus on this machine it cannot be found from the lab: "
                f"write the name of the data repository in Alyx, or {_globus_ways_out(parts)}",
            )


def _writable(parts: Parts) -> Iterator[Problem]:
    for root in parts.roots.values():
        if root.writable:
            continue
        needs = f'needs writable = true in [[roots]] "{root.name}"; nothing below a root is changed without it'
        if parts.detection and parts.detection.consume_flag and root.layout == "ibl":
            yield Problem(("detection", "consume_flag"), needs, value=True)
        if parts.registration and parts.registration.compat_renames and root.registers:
            yield Problem(("registration", "compat_renames"), needs, value=True)


def _completion(parts: Parts) -> Iterator[Problem]:
    for number, root in parts.roots.items():
        if root.layout == "ibl" and root.completion in {"manifest", "metadata"}:
            yield Problem(
                ("roots", number, "completion"),
                'is for layout "aind": sessions of layout "ibl" have no such file; write auto, flag, spikeglx or quiet',
                root.completion,
            )


_RULES: tuple[Callable[[Parts], Iterator[Problem]], ...] = (
    _login,
    _names,
    _nesting,
    _archives,
    _observed,
    _shown_by_globus,
    _repository,
    _writable,
    _completion,
    _credentials,
)


def warnings(config: Config) -> Iterator[Problem]:
    """Yield what is allowed and still deserves a look."""
    if not config.roots:
        yield Problem(("roots",), "is missing: no directory is watched; add a table [[roots]]")
    for number, root in enumerate(config.roots):
        if not root.registers and not root.archive:
            yield Problem(("roots", number, "archive"), "is empty and register is false: sessions are only listed")
    for name, archive in config.archive.items():
        if not isinstance(archive, ObserveArchive) and archive.naming != "alyx" and archive.repository:
            yield Problem(
                ("archive", name, "repository"),
                f'is marked in Alyx, but naming = "{archive.naming}" leaves out the UUID by which ONE finds a file; '
                'set repository = "" or naming = "alyx"',
                archive.repository,
            )
    if config.alyx.url.startswith("http://") and not _loopback(config.alyx.url):
        yield Problem(("alyx", "url"), "is not encrypted: the password can be read on the way", config.alyx.url)
    for key in ("transfer_url", "auth_url"):
        if url := getattr(config.globus, key):
            yield Problem(("globus", key), "replaces the real Globus service; remove it outside a sandbox", url)
    for key, least in (("resend_after", 30), ("resend_look_every", 15)):
        if getattr(config.registration, key) < least:
            yield Problem(
                ("registration", key),
                f"is less than {least} s: Alyx may still be working on a request that is sent again; "
                "raise it outside a sandbox",
                getattr(config.registration, key),
            )


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
