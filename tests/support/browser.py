"""A person with a browser, who logs in to Globus and copies the code that is shown."""

from __future__ import annotations

import html
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import httpx

from labferry.sandbox.globus.auth import NATIVE_CLIENT_ID

PERSON: Mapping[str, str] = {
    "LABFERRY_GLOBUS__CLIENT_ID": NATIVE_CLIENT_ID,
    "LABFERRY_GLOBUS__CLIENT_SECRET_FILE": "",
}
"""The environment of a daemon that a person logs in."""


def click(url: str, **more: str) -> str:
    """Follow the address as somebody who consents to everything; return the code.

    `_as` says who it is, `_answer="denied"` that they do not consent.
    """
    page = httpx.get(httpx.URL(url).copy_merge_params(more), follow_redirects=True)
    assert page.status_code == 200, page.text
    return html.unescape(page.text.partition("<pre>")[2].partition("</pre>")[0])


def asked_for(url: str) -> dict[str, str]:
    """Return what an address asks for, by name."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
