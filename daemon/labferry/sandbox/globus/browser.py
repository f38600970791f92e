"""The two pages of Auth that a person sees: where consent is given, and where the code is shown.

Room: sandbox. Whoever follows the address has consented: `?_as=NAME` says as whom, `?_answer=denied` that they do not.
"""

from __future__ import annotations

import html
from urllib.parse import urlencode

from labferry.sandbox.globus.tokens import Holder, Tokens
from labferry.sandbox.http import Request, Response

PEOPLE = {
    "ada@lab.example": "8a1c6de0-4f7b-4b06-9a55-2f6d0e2b7c11",
    "ben@lab.example": "c27b95e4-6d0a-4c8f-b3f1-5b9e7d80a4f2",
}
"""Who has a Globus identity, the first one by default."""

CODE_PAGE = "/v2/web/auth-code"


class Browser:
    """Answers what a browser asks.

    Parameters
    ----------
    tokens : Tokens
    clients : frozenset of str
        The applications that a person may log in to.
    """

    def __init__(self, tokens: Tokens, clients: frozenset[str]) -> None:
        self._tokens = tokens
        self._clients = clients

    def authorize(self, request: Request) -> Response:
        """Let a person log in and consent, and send the browser to the page with the code."""
        query = request.query
        person = query.get("_as") or next(iter(PEOPLE))
        if trouble := self._trouble(request, person):
            return _page(400, f"This cannot be done: {trouble}")
        back = {"state": query.get("state", "")}
        if query.get("_answer") == "denied":
            return _sent_to(query["redirect_uri"], {**back, "error": "access_denied"})
        identity = PEOPLE[person]
        authenticated = self._tokens.authenticated(identity, anew=query.get("prompt") == "login")
        code = self._tokens.new_code(
            Holder(query["client_id"], identity, authenticated),
            query["scope"],
            query["code_challenge"],
            query["redirect_uri"],
            offline=query.get("access_type") == "offline",
        )
        return _sent_to(query["redirect_uri"], {**back, "code": code})

    def show_code(self, request: Request) -> Response:
        """Show the code to be copied."""
        return _page(200, request.query.get("code") or request.query.get("error", "nothing"))

    def _trouble(self, request: Request, person: str) -> str:
        query = request.query
        if query.get("client_id") not in self._clients:
            return "no such application"
        if query.get("redirect_uri") != request.origin + CODE_PAGE:
            return "this application may not send people there"
        if query.get("response_type") != "code" or not query.get("scope"):
            return "response_type is code, and a scope is needed"
        if query.get("code_challenge_method") != "S256" or not 43 <= len(query.get("code_challenge", "")) <= 128:
            return "a native application needs a code_challenge (S256)"
        return "" if person in PEOPLE else f"nobody is called {person}"


def _sent_to(address: str, query: dict[str, str]) -> Response:
    return Response(302, headers={"Location": f"{address}?{urlencode(query)}"})


def _page(status: int, text: str) -> Response:
    body = f"<!doctype html><title>Globus of the sandbox</title><pre>{html.escape(text)}</pre>\n"
    return Response(status, body.encode(), "text/html; charset=utf-8")
