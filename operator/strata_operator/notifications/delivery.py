"""The way to one sink: a bounded queue, one request at a time in order, again and again for a while.

A notice is delivered at least once while the process lives and the sink answers within a quarter of an hour. What is
told of it: strata_notifications_total, and a line in the log for each that is given up.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import tenacity

from strata_builder.registry import retry
from strata_operator import metrics
from strata_operator.notifications import cloudevents, notices, signing, sinks

log = logging.getLogger(__name__)

QUEUE: Final = 1000  # notices that wait for one sink; the oldest is dropped for one more
_KEY: Final = "key"  # files of the sink's Secret
_AUTHORIZATION: Final = "authorization"
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: of one request, of all tries of a notice together, between two tries, and what a sink may ask for."""

    request: float = 15.0
    notice: float = 900.0
    first: float = 1.0
    longest: float = 60.0
    asked: float = 300.0


class _Again(Exception):
    """A try that failed and may succeed later; `after` is what the sink asked for, in seconds."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


class _Refused(Exception):
    """The sink does not want it, or cannot be told at all."""


class Delivery:
    """`proxy` is the URL of the HTTP proxy on the way, None without one. `client` must not follow redirects by itself."""

    def __init__(
        self,
        sink: sinks.Sink,
        client: aiohttp.ClientSession,
        counters: metrics.Metrics,
        *,
        source: str = "",
        proxy: str | None = None,
        patience: Patience = Patience(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sink = sink
        self._client = client
        self._counters = counters
        self._source = source
        self._proxy = proxy
        self._patience = patience
        self._clock = clock
        self._queue: collections.deque[notices.Notice] = collections.deque()
        self._filled, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing waits."""
        await self._idle.wait()

    @property
    def idle(self) -> bool:
        return self._idle.is_set()

    def put(self, notice: notices.Notice) -> None:
        """Have it delivered; never waits."""
        if len(self._queue) >= QUEUE:
            self._given_up("dropped", self._queue.popleft(), f"{QUEUE} others wait")
        self._queue.append(notice)
        self._idle.clear()
        self._filled.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._filled.wait()
            while self._queue:
                await self._deliver(self._queue.popleft())
            self._filled.clear()
            self._idle.set()

    async def _deliver(self, notice: notices.Notice) -> None:
        try:
            async for attempt in self._retrying():
                with attempt:
                    await self._post(notice)
        except _Again as e:
            self._given_up("expired", notice, str(e))
        except _Refused as e:
            self._given_up("refused", notice, str(e))
        except Exception:  # the border of a delivery: the next one must go on
            log.exception("sink %s: %s is not delivered", self.sink.name, notice.id)
            self._counters.notifications.labels(self.sink.name, "refused").inc()
        else:
            self._counters.notifications.labels(self.sink.name, "delivered").inc()

    async def _post(self, notice: notices.Notice) -> None:
        headers, body = self._request(notice)
        try:
            async with self._client.post(
                self.sink.url,
                data=body,
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._patience.request),
            ) as answer:
                _judge(answer)
        except (aiohttp.InvalidURL, UnicodeError) as e:
            raise _Refused(f"the URL cannot be used: {type(e).__name__}") from e
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise _Again(f"no answer: {type(e).__name__}") from e  # its text may hold the URL, which may be a secret

    def _request(self, notice: notices.Notice) -> tuple[dict[str, str], bytes]:
        """Signed anew for each try: receivers refuse what was signed long ago."""
        now = self._clock()
        stamp = datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="milliseconds")
        context = cloudevents.attributes(notice, prefix=self._source, now=stamp.replace("+00:00", "Z"))
        headers, body = cloudevents.request(self.sink.mode, context, notice.data)
        headers |= {"webhook-id": notice.id, "webhook-timestamp": str(int(now))}
        if key := self._secret(_KEY):
            try:
                headers["webhook-signature"] = signing.sign(signing.key_of(key), notice.id, int(now), body)
            except ValueError as e:
                raise _Refused(f"the Secret's key {_KEY} cannot be used: {e}") from e
        if authorization := self._secret(_AUTHORIZATION):
            headers["Authorization"] = authorization
        return headers, body

    def _secret(self, name: str) -> str:
        """A file of the mounted Secret, read each time: the kubelet replaces it. Raises _Again if there is no Secret."""
        if not self.sink.secret_folder:
            return ""
        folder = Path(self.sink.secret_folder)
        try:
            return (folder / name).read_text("utf-8").strip()
        except FileNotFoundError as e:
            if any((folder / other).exists() for other in (_KEY, _AUTHORIZATION)):
                return ""
            raise _Again(f"its Secret has neither {_KEY} nor {_AUTHORIZATION}") from e
        except (OSError, UnicodeError) as e:
            raise _Again(f"its Secret cannot be read: {type(e).__name__}") from e

    def _retrying(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=self._wait,
            stop=tenacity.stop_before_delay(self._patience.notice),
            before_sleep=self._tell,
            reraise=True,
            sleep=asyncio.sleep,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        limits = self._patience
        backoff = tenacity.wait_random_exponential(multiplier=limits.first, max=limits.longest)
        error = state.outcome.exception() if state.outcome else None
        asked = error.after if isinstance(error, _Again) else None
        return max(float(backoff(state)), min(asked or 0.0, limits.asked))

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._counters.notifications.labels(self.sink.name, "retried").inc()
        log.log(
            logging.WARNING if state.attempt_number == 1 else logging.DEBUG,
            "sink %s: %s; %d wait, it is tried again",
            self.sink.name,
            error,
            len(self._queue) + 1,
        )

    def _given_up(self, result: str, notice: notices.Notice, why: str) -> None:
        self._counters.notifications.labels(self.sink.name, result).inc()
        log.error("sink %s: %s of %s is %s: %s", self.sink.name, notice.transition, notice.id, result, why)


def _judge(answer: aiohttp.ClientResponse) -> None:
    """What the status says; bodies are not read, for they may hold anything."""
    if 200 <= answer.status < 300:
        return
    if answer.status in _RETRIED:
        asked = retry.parse_retry_after(answer.headers.get("Retry-After", ""))
        raise _Again(f"it answered {answer.status}", asked)
    hint = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    raise _Refused(f"it answered {answer.status}{hint}")
