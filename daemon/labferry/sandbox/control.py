"""`/_sandbox/*`: what a test asks the sandbox itself, beside what it asks of Alyx and Globus.

Room: sandbox. `requests` is the log, `faults` the rules, `state` everything that is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from labferry.sandbox.alyx.store import Store
from labferry.sandbox.faults import Faults
from labferry.sandbox.globus.application import Globus
from labferry.sandbox.http import Application, Request, Response, json_response
from labferry.sandbox.requestlog import Outcome, RequestLog
from labferry.sandbox.seed import clear, plant
from labferry.sandbox.state import dump

PREFIX = "/_sandbox/"


class Gate:
    """Stands before an application: logs its requests and injects faults.

    Parameters
    ----------
    application : Application
        Behind it.
    log : RequestLog
        Shared by all gates, so that there is one order.
    faults : Faults
        Shared as well.
    """

    def __init__(self, application: Application, log: RequestLog, faults: Faults) -> None:
        self._application = application
        self._log = log
        self._faults = faults

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        number = self._log.arrived()
        plan = self._faults.plan(request)
        applied, status = False, None
        try:
            response = self._faults.act(plan.before)
            if response is None:
                response = self._application(request)
                applied = True
                response = self._faults.act(plan.after) or response
            status = response.status
        finally:
            self._log.ended(number, request, Outcome(status, applied, plan.rule_ids))
        return response


class Control:
    """Stands before the gate to Alyx, and answers what is asked of the sandbox itself.

    Parameters
    ----------
    gate : Gate
        To the sandbox's Alyx.
    store : Store
        Alyx's state.
    globus : Globus
        Its tasks belong to the state as well.
    log : RequestLog
        Of all gates.
    faults : Faults
        For all gates.
    replant : Callable
        Fills an emptied store with the seeds again.
    """

    def __init__(
        self,
        gate: Gate,
        store: Store,
        globus: Globus,
        log: RequestLog,
        faults: Faults,
        replant: Callable[[], None],
    ) -> None:
        self._gate = gate
        self._store = store
        self._globus = globus
        self._log = log
        self._faults = faults
        self._replant = replant

    def __call__(self, request: Request) -> Response:
        """Answer one request, to Alyx or to the sandbox."""
        return self._own(request) if request.path.startswith(PREFIX) else self._gate(request)

    def _own(self, request: Request) -> Response:
        answers: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "requests"): self._requests,
            ("DELETE", "requests"): self._forget,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): self._remove_faults,
            ("POST", "faults/release"): self._release,
            ("GET", "state"): self._show_state,
            ("POST", "state"): self._add_state,
            ("DELETE", "state"): self._reset_state,
        }
        answer = answers.get((request.method, request.path.removeprefix(PREFIX)))
        if answer is None:
            known = [f"{method} {PREFIX}{name}" for method, name in answers]
            return json_response(404, {"error": f"no {request.method} {request.path}", "known": known})
        try:
            return answer(request)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return json_response(400, {"error": f"{type(error).__name__}: {error}"})

    def _requests(self, request: Request) -> Response:
        return Response(200, self._log.text(int(request.query.get("since", 0))), "application/x-ndjson")

    def _forget(self, _: Request) -> Response:
        self._log.clear()
        return Response(204)

    def _list_faults(self, request: Request) -> Response:
        if "wait" not in request.query:
            return json_response(200, self._faults.list())
        query = request.query
        timeout = float(query.get("timeout", 10))
        rule = self._faults.wait(int(query["wait"]), int(query.get("hits", 1)), timeout)
        if rule is None:
            return json_response(408, {"error": f"rule {query['wait']} was not hit within {timeout:g} s"})
        return json_response(200, rule)

    def _add_faults(self, request: Request) -> Response:
        described = json.loads(request.body)
        if isinstance(described, list):
            return json_response(201, [self._faults.add(one).shown() for one in described])
        return json_response(201, self._faults.add(described).shown())

    def _remove_faults(self, request: Request) -> Response:
        rule = request.query.get("id")
        self._faults.remove(None if rule is None else int(rule))
        return Response(204)

    def _release(self, _: Request) -> Response:
        self._faults.release()
        return Response(204)

    def _show_state(self, _: Request, status: int = 200) -> Response:
        with self._store.database() as db:
            state = dump(db)
        return json_response(status, {**state, "globus": self._globus.state()})

    def _add_state(self, request: Request) -> Response:
        described = json.loads(request.body)
        if not isinstance(described, Mapping):
            return json_response(400, {"error": "an object of lists: labs, users, repositories, subjects, …"})
        facts = dict(described)
        if (globus := facts.pop("globus", None)) is not None:
            self._globus.change(globus)
        with self._store.database() as db:
            plant(db, facts)
        return self._show_state(request, 201)

    def _reset_state(self, _: Request) -> Response:
        with self._store.database() as db:
            clear(db)
        self._globus.forget()
        self._replant()
        return Response(204)
