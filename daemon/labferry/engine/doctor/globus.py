"""Globus: the login of our application, and whether the source collection shows it the roots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from labferry.archive.globus.paths import CollectionMap
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Listing
from labferry.config import GlobusArchive, Root
from labferry.config.checks import Check, Result
from labferry.config.credentials import personal_endpoint, personal_endpoint_file
from labferry.config.shared_paths import NAME, read_shared_paths
from labferry.engine.context import Context
from labferry.engine.doctor.checking import checked, failed, skipped
from labferry.engine.doctor.sample import Sample
from labferry.engine.globus.access import GlobusAccess
from labferry.engine.globus.probing import KnownFile, Probing
from labferry.errors import BlockedError, ConfigError, LabferryError, UnavailableError

AGAIN = "It is closed now; who has read it can use it: `labferry login globus --start` replaces it."
_PROBE = "labferry doctor"  # a label that no task has
_NOT_OURS_TO_READ = frozenset({"globus_login", "collection_denied", "collection_unknown", "target_missing"})


def login(access: GlobusAccess, service: GlobusService) -> Check:
    """Check the login: a token, and one question with it."""
    check = "globus_login"

    def look() -> str:
        service.find(_PROBE)
        return f"logged in as {access.who}"

    found = checked(check, look)
    if found.result is Result.OK and access.person is not None and (exposed := access.person.store.exposed):
        return Check(check, Result.WARNING, f"{found.text}, but {exposed}", AGAIN)
    return found


def sources(context: Context, service: GlobusService, samples: Sequence[Sample]) -> Iterator[Check]:
    """Check for every root with a Globus archive whether our application can read it through the source collection."""
    for sample in samples:
        targets = [name for name in sample.root.archive if isinstance(context.config.archive[name], GlobusArchive)]
        if targets:
            yield from _shared(context, sample.root)
            yield _source(context, service, sample, Probing(context, targets[0], "", service))


def unused() -> Iterator[Check]:
    """Say that there is nothing to check."""
    yield skipped("globus", "no root is archived through Globus")


def _source(context: Context, service: GlobusService, sample: Sample, probing: Probing) -> Check:
    root, settings = sample.root, context.config.globus
    check = f"globus_source:{root.name}"
    try:
        probing.require_source(_known(context, sample))
        path = CollectionMap(settings.local_path, settings.endpoint_subdir).to_collection(os.fsencode(root.path))
        listing = service.listing(settings.endpoint, path, blame="")
    except (UnavailableError, BlockedError) as error:
        if context.globus is not None and error.code in _NOT_OURS_TO_READ and _is_personal(context):
            return _not_readable_for_us(context.globus, check, error)
        return failed(check, error)
    if listing is None or not _shows(listing, root):
        return Check(
            check,
            Result.ERROR,
            f"collection {settings.endpoint} does not show {root.path} at {path}",
            "Correct `local_path` and `endpoint_subdir` of [globus], or share the root's folder in the collection.",
        )
    return Check(check, Result.OK, f"collection {settings.endpoint} shows {root.path} at {path}")


def _shared(context: Context, root: Root) -> Iterator[Check]:
    """Check whether Globus Connect Personal of this machine shows a root, where that is the source collection."""
    settings, check = context.config.globus, f"globus_shared:{root.name}"
    file = personal_endpoint_file(settings.config_dir, os.environ)
    try:
        if personal_endpoint(file).lower() != settings.endpoint:
            return
        shared = read_shared_paths(file)
    except ConfigError as error:
        yield failed(check, error)
        return
    named = ", ".join(one.path for one in shared) or "nothing"
    if any(one.holds(root.path) for one in shared):
        yield Check(check, Result.OK, f"Globus Connect Personal shows {root.path} ({named})")
        return
    yield Check(
        check,
        Result.ERROR,
        f"source_not_shared: Globus Connect Personal shows {named}, and not {root.path}",
        f"Add the line `{root.path},0,0` to {os.path.join(os.path.dirname(file), NAME)} and restart Globus Connect"
        " Personal.",
    )


def _known(context: Context, sample: Sample) -> KnownFile | None:
    """Return a file of the newest session of a root, where there is one."""
    session = sample.session
    file = None if session is None else next(context.journal.files.each_carriable(session.id), None)
    if session is None or file is None:
        return None
    local, settings = os.path.join(context.place_of(session), file.path), context.config.globus
    return KnownFile(local, CollectionMap(settings.local_path, settings.endpoint_subdir).to_collection(local))


def _shows(listing: Listing, root: Root) -> bool:
    """Tell whether a listing can be this root's: it has something of what is there, or nothing is there."""
    try:
        here = os.listdir(root.path)
    except OSError:
        return True  # the root's own check says so
    return not here or any(name in listing for name in here)


def _is_personal(context: Context) -> bool:
    """Tell whether the source is a collection of Globus Connect Personal: this machine's own, or one that Alyx says."""
    settings = context.config.globus
    try:
        if personal_endpoint(personal_endpoint_file(settings.config_dir, os.environ)).lower() == settings.endpoint:
            return True
        repositories = context.words().repositories.values()
    except (ConfigError, UnavailableError):
        return False
    return any(one.globus_is_personal and one.globus_endpoint_id.lower() == settings.endpoint for one in repositories)


def _not_readable_for_us(access: GlobusAccess, check: str, error: LabferryError) -> Check:
    """Say what a login cannot do with somebody's own collection, and the ways out (ruling 20)."""
    endpoint = access.config.globus.endpoint
    text = (
        f"{error.code}: {error.message}. Collection {endpoint} is one of Globus Connect Personal, which only its owner"
    )
    if access.person is None:
        return Check(check, Result.ERROR, f"{text} can read, and we come with client credentials", access.ways_out())
    hint = "Log in as its owner: `labferry login globus --start --replace`."
    return Check(check, Result.ERROR, f"{text} can read, and {access.who} is logged in", hint)
