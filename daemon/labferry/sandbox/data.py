"""The data server: the archive over HTTP, under the addresses that Alyx's data repositories give.

Room: sandbox. Read-only; what is not a regular file below the root does not exist.
"""

from __future__ import annotations

from pathlib import Path

from labferry.sandbox.http import Request, Response


class DataServer:
    """Serves the files below a directory.

    Parameters
    ----------
    root : Path
        The archive; may be created later.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, request: Request) -> Response:
        """Answer GET and HEAD with a file's bytes."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, headers={"Allow": "GET, HEAD"})
        root = self._root.resolve()
        path = root.joinpath(request.path.lstrip("/")).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return Response(404, b"not found\n", "text/plain")
        stream = path.open("rb")
        return Response(200, b"", "application/octet-stream", stream=stream, length=path.stat().st_size)
