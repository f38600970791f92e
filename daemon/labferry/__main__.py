"""`labferry` and `python -m labferry`: the command line."""

import io
import sys

from labferry.cli.main import cli


def main() -> None:
    """Run the command line; ends the process with the command's exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal cannot show are still shown
    cli(prog_name="labferry")


if __name__ == "__main__":
    main()
