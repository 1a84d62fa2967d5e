"""One request to the API server: repeated, counted, its refusal as an exception. Only here the `kubernetes` client is used.

::

    KubeError                 status, reason and message as the API server gave them
     +- Conflict    409       somebody wrote in between: read again and decide again
     +- NotFound    404
     +- Forbidden   403
     +- Invalid     422, 400
     +- Unreachable           429, 5xx, no answer or one that is no JSON, after the retries of this module
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import tenacity
from kubernetes.aio import client as kube_client
from kubernetes.aio import config as kube_config

from strata_operator import metrics, names

Object = dict[str, Any]
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_SCHEMES: Final = frozenset({"http", "https"})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60, sock_connect=10)
_ATTEMPTS: Final = 5
_LONGEST_WAIT: Final = 30.0  # a Retry-After beyond it is left to the queue's back-off


class KubeError(Exception):
    """The API server refused; `str()` is its own message."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.repeated = False  # the request had been sent before, and nobody knows what became of it then


class Conflict(KubeError):
    pass


class NotFound(KubeError):
    pass


class Forbidden(KubeError):
    pass


class Invalid(KubeError):
    pass


class Unreachable(KubeError):
    pass


_ERRORS: Final[Mapping[int, type[KubeError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}


class Session:
    """Requests to one API server, repeated while it does not answer."""

    def __init__(self, api: kube_client.ApiClient, counters: metrics.Metrics) -> None:
        self._api = api
        self._counters = counters

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        async for attempt in _retrying():
            with attempt:
                try:
                    return await self._once(verb, method, path, body=body, query=query, content=content)
                except Conflict as e:
                    e.repeated = attempt.retry_state.attempt_number > 1
                    raise
        raise AssertionError("unreachable: tenacity re-raises")

    async def _once(
        self, verb: str, method: str, path: str, *, body: Object | None, query: Mapping[str, str] | None, content: str
    ) -> Object:
        headers = {"Accept": "application/json", "Content-Type": content}
        code = "error"
        try:
            _, url, headers, _, _ = await self._api.param_serialize(
                method, path, header_params=headers, auth_settings=["BearerToken"]
            )
            if query:
                url += "?" + urllib.parse.urlencode(query)
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=_TIMEOUT)
            data = await answer.read()  # type: ignore[no-untyped-call]
            code = str(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise Unreachable(0, "NoAnswer", f"no answer from the API server: {type(e).__name__}: {e}"[:500]) from e
        finally:
            self._counters.kube_requests.labels(verb, code).inc()
        if answer.status >= 300:
            raise _error(answer.status, answer.headers, data)
        return _object(data)


async def connect(counters: metrics.Metrics) -> Session:
    """A session as the environment says: in a pod its service account, else KUBECONFIG or ~/.kube/config."""
    configuration = kube_client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
        kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        file = os.environ.get("KUBECONFIG") or None  # else the library's own default
        await kube_config.load_kube_config(file, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = 100
    configuration.client_session_kwargs = {"trust_env": _names_proxy()}
    api = kube_client.ApiClient(configuration)
    api.user_agent = names.OPERATOR
    return Session(api, counters)


def _names_proxy() -> bool:
    """Whether the environment names a proxy for the API server. Where it does not there is none to look up, in two threads
    at every request. Any variable that ends in _PROXY is one of some scheme to urllib, settings of ours among them."""
    return not urllib.request.getproxies_environment().keys().isdisjoint(_SCHEMES)


def _retrying() -> tenacity.AsyncRetrying:
    """Every request here can be repeated: creates have fixed names, patches carry a resourceVersion or are absolute."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(Unreachable),
        wait=_wait,
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        reraise=True,
        sleep=asyncio.sleep,
    )


_backoff: Final = tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, KubeError) else None
    return float(_backoff(state)) if asked is None else min(asked, _LONGEST_WAIT)


def _error(status: int, headers: Mapping[str, str], data: bytes) -> KubeError:
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    known = isinstance(body, dict) and body.get("kind") == "Status"  # anything else may hold what must not be logged
    reason = str(body.get("reason") or "") if known else ""
    message = str(body.get("message") or "")[:2000] if known else f"the API server answered {status}"
    if status in _RETRIED:
        asked = headers.get("Retry-After", "")
        return Unreachable(status, reason, message, retry_after=float(asked) if asked.isdigit() else None)
    return _ERRORS.get(status, KubeError)(status, reason, message)


def _object(data: bytes) -> Object:
    """Raises Unreachable for a page of what stands in front of the API server."""
    try:
        body = json.loads(data)
    except ValueError as e:
        raise Unreachable(200, "NotJSON", "the API server's answer is not JSON") from e
    if not isinstance(body, dict):
        raise KubeError(200, "NotAnObject", f"the API server answered with a JSON {type(body).__name__}")
    return body
