"""`make mutants`: breaks the program in the small ways kept in this folder, and requires that a test notices each.

    python tests/mutants/run.py [-j N] [ROW | PATCH …]

Works in scratch copies of the tree; the tree itself is only read. Exit codes: 0 every mutant was killed; 1 one
survived, could not be tried, or a named test fails without it; 2 there is no mutant of that row or name.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path("tests", "mutants")
TIMEOUT = 600.0  # seconds for the tests of one mutant; every single test has its own, shorter limit …
A_TEST = 10.0  # … and where hundreds run, so many each
PYTEST_FAILED, PYTEST_PASSED = 1, 0
_HEADER = re.compile(r"# (row|test|breaks): *(.*\S) *")


class MutantError(Exception):
    """A mutant that cannot be tried; says why."""


@dataclass(frozen=True)
class Mutant:
    """One small break: a unified diff with a header that names its row and the tests that must notice it."""

    patch: Path
    row: str
    tests: tuple[str, ...]
    breaks: str

    @classmethod
    def read(cls, patch: Path) -> Mutant:
        """Return a mutant; `MutantError` when its header is incomplete."""
        header: dict[str, list[str]] = {"row": [], "test": [], "breaks": []}
        for line in patch.read_text("utf-8").splitlines():
            if not line.startswith("#"):
                break
            if found := _HEADER.fullmatch(line):
                header[found[1]].append(found[2])
        if not header["test"] or [len(header["row"]), len(header["breaks"])] != [1, 1]:
            raise MutantError(
                f"{patch.name}: its header needs one `# row:`, one `# breaks:` and at least one `# test:`"
            )
        return cls(patch, header["row"][0], tuple(header["test"]), header["breaks"][0])


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: `killed`, `SURVIVED` or `error`."""

    mutant: Mutant
    word: str
    why: str
    seconds: float

    def __str__(self) -> str:
        line = f"{self.word:<9}{self.mutant.row:<12}{self.mutant.patch.name:<32}{self.seconds:5.1f} s"
        return line if self.word == "killed" else f"{line}  {self.mutant.breaks}\n{self.why}"


class Scratch:
    """A copy of the tree that may be broken. Tests in it, and what they start, import the copy's package.

    Parameters
    ----------
    root : Path
        The tree; what its repository ignores is not copied.
    place : Path
        An empty folder. The copy has the tree's neighbour `shared`, where the reference data is looked for.
    """

    def __init__(self, root: Path, place: Path) -> None:
        self.tree = place / "tree"
        for name in _files(root):
            target = self.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target, follow_symlinks=False)
        shared = root.parent / "shared"
        if shared.is_dir():
            (place / "shared").symlink_to(shared)
        self._environment = _environment() | {
            "PYTHONPATH": str(self.tree / "daemon"),  # wins over the installed package, which is the tree's
            "PYTHONDONTWRITEBYTECODE": "1",  # a mutant of the same second and size would meet stale bytecode
            "GIT_CEILING_DIRECTORIES": str(place),
        }

    @contextlib.contextmanager
    def broken(self, patch: Path) -> Iterator[None]:
        """Apply a patch for the length of the body; `MutantError` when it does not apply."""
        self._apply(patch)
        try:
            yield
        finally:
            self._apply(patch, "--reverse")

    def test(self, tests: Sequence[str], *options: str) -> tuple[int | None, str]:
        """Run tests; return pytest's exit code (None: no end within the time limit) and what it printed."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "--", *tests]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                command,
                cwd=self.tree,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code: int | None = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(max(TIMEOUT, A_TEST * len(tests)))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what a test that was cut short has left running
            process.wait()
            output.seek(0)
            return code, output.read()

    def _apply(self, patch: Path, *options: str) -> None:
        command = ["git", "apply", "-p1", "--whitespace=nowarn", *options, str(patch)]
        done = subprocess.run(
            command, cwd=self.tree, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MutantError(f"{patch.name} does not apply: {done.stderr.strip()}")


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Try the mutants of the named rows, the named mutants, or all; return the exit code."""
    options = _options(arguments)
    try:
        mutants = [Mutant.read(patch) for patch in sorted((root / MUTANTS).glob("*.patch"))]
    except MutantError as error:
        print(error, file=sys.stderr)
        return 1
    rows = [row for argument in options.rows for row in argument.split(",") if row]
    known = {mutant.row.lower(): mutant.row for mutant in mutants}
    names = {mutant.patch.stem.lower() for mutant in mutants}
    unknown = [row for row in rows if row.lower() not in known.keys() | names]
    if unknown:
        print(f"There is no mutant of {', '.join(unknown)}. There are: {', '.join(known.values())}.", file=sys.stderr)
        return 2
    wanted = {row.lower() for row in rows} or set(known)
    chosen = [mutant for mutant in mutants if {mutant.row.lower(), mutant.patch.stem.lower()} & wanted]
    if not chosen:
        print(f"There is no mutant in {MUTANTS}.", file=sys.stderr)
        return 1
    with _scratch_copies(root, min(options.jobs, len(chosen))) as copies:
        problem = check_unbroken(copies[0], chosen)
        if problem:
            print(problem, file=sys.stderr)
            return 1
        killed = 0
        for verdict in _verdicts(chosen, copies):
            print(verdict, flush=True)
            killed += verdict.word == "killed"
    print(f"{killed} passed, {len(chosen) - killed} failed")
    return 0 if killed == len(chosen) else 1


def check_unbroken(copy: Scratch, mutants: Iterable[Mutant]) -> str:
    """Run all named tests without any mutant; return what is wrong, empty when each of them passed."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    code, output = copy.test(tests, "-rpsfE")
    if code != PYTEST_PASSED:
        return f"{output}\nThe tests above must pass before a mutant can fail them (pytest ended with {code})."
    passed = [line.removeprefix("PASSED ") for line in output.splitlines() if line.startswith("PASSED ")]
    idle = [test for test in tests if not any(re.match(rf"{re.escape(test)}($|\[|::)", name) for name in passed)]
    return f"{output}\nThese tests are skipped here, so they cannot notice anything: {', '.join(idle)}" if idle else ""


def try_mutant(mutant: Mutant, copy: Scratch) -> Verdict:
    """Break a copy, run the mutant's tests, mend the copy."""
    started = time.monotonic()
    try:
        with copy.broken(mutant.patch):
            code, output = copy.test(mutant.tests, "-x")
    except MutantError as error:
        word, why = "error", str(error)
    else:
        word, why = _judge(code, output)
    return Verdict(mutant, word, why, time.monotonic() - started)


def _judge(code: int | None, output: str) -> tuple[str, str]:
    if code == PYTEST_FAILED:
        return "killed", ""
    if code == PYTEST_PASSED:
        return "SURVIVED", "its tests pass all the same"
    end = "did not end" if code is None else f"ended with {code}"
    return "error", f"{output}\nThe mutant broke the tools, no test failed: pytest {end}."


def _verdicts(mutants: Sequence[Mutant], copies: Sequence[Scratch]) -> Iterator[Verdict]:
    """Yield the verdicts in the order of the mutants, as many at a time as there are copies."""
    free: SimpleQueue[Scratch] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def work(mutant: Mutant) -> Verdict:
        copy = free.get()
        try:
            return try_mutant(mutant, copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as workers:
        yield from workers.map(work, mutants)


@contextlib.contextmanager
def _scratch_copies(root: Path, number: int) -> Iterator[list[Scratch]]:
    place = Path(tempfile.mkdtemp(prefix="labferry-mutants-"))
    place.chmod(0o755)  # some tests give up the superuser's rights and go on importing
    try:
        copies = []
        for index in range(number):
            folder = place / str(index)
            folder.mkdir()
            copies.append(Scratch(root, folder))
        yield copies
    finally:
        shutil.rmtree(place)


def _files(root: Path) -> list[str]:
    """Return the files of the tree as they are now, new ones included, without what the repository ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, env=_environment(), capture_output=True, text=True, check=True).stdout
    return [name for name in sorted(set(listed.split("\0"))) if name and os.path.lexists(root / name)]


def _environment() -> dict[str, str]:
    """Return the environment without what a git hook or an outer pytest has put there."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PYTEST_"))}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/mutants/run.py", description="Require that tests notice small breaks.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only the mutants of these rows, or of these names")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="how many at a time (default: 2)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
