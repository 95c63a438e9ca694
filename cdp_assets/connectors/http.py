"""The one way out: every request to an outside system goes through `HttpSession`.

It signs, waits, repeats what may be repeated, and tells apart four ends of a request: an answer,
a refusal, a system that stays away, and a call of which nobody knows whether it took effect.
"""

from __future__ import annotations

import email.utils
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import requests
import urllib3.exceptions

from cdp_assets.connectors.base import (
    BudgetSpent,
    ConnectorError,
    NotAuthorised,
    NotPermitted,
    Refused,
    Unavailable,
    UnknownOutcome,
)
from cdp_assets.connectors.closed import ClosedUntil
from cdp_assets.connectors.policy import PlainPolicy, Policy
from cdp_assets.connectors.rate import RateBudget, retry_after
from cdp_assets.connectors.redaction import redact, redact_path
from cdp_assets.connectors.tokens import Auth

T = TypeVar("T")
_LOCKED = 423
_REPEATED = frozenset({408, 425, 429, 477, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524})
_ROUNDING = 5.0
_UNPROCESSED = frozenset({425, 429, 477, _LOCKED})
"""Statuses which say that the request was not carried out: any request may be sent again."""


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How patient a session is. Seconds throughout.

    attempts: sends of one request before it is given up. longest_wait: where a system asks for
    more, the request is given up instead, so that no worker sleeps for hours.
    usage: folder in which a day's requests are counted for all processes (see `DailyUsage`).
    now, monotonic, sleep, rng: the outside world, replaced in tests.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 120.0
    attempts: int = 6
    backoff: float = 1.0
    longest_backoff: float = 60.0
    longest_wait: float = 300.0
    usage: Path | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = random.Random()  # noqa: RUF009 - sharing one generator is wanted


@dataclass(frozen=True)
class Reply(Generic[T]):
    """An answer: its status, headers (names as sent, matched without case) and decoded body."""

    status: int
    headers: Mapping[str, str]
    body: T
    raw: bytes


def decode_json(body: bytes) -> Any:
    """Any JSON value; b"" (204) is None."""
    return msgspec.json.decode(body) if body else None


class HttpSession:
    """Requests to one outside system.

    calls: requests sent so far, repeats included. waited: seconds spent waiting. behind: seconds by
    which the system's clock is behind ours, as the `Date` of its answers tells; 0.0 where it is
    not, or by no more than an answer's way and whole seconds explain.
    Safe to use from several threads.
    """

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        auth: Auth | None = None,
        policy: Policy | None = None,
        rate: RateBudget | None = None,
        options: HttpOptions | None = None,
        auth_header: str = "Authorization",
    ) -> None:
        """system: the source's name, as errors will call it. auth_header: where the token goes."""
        self.system = system
        self._base = base_url.rstrip("/")
        self._auth = auth
        self._auth_header = auth_header
        self._policy: Policy = policy or PlainPolicy()
        self._rate = rate
        self._options = options or HttpOptions()
        self._local = threading.local()
        self._count = threading.Lock()
        own = self._options
        self._closed = ClosedUntil(system, own.usage, own.now, own.monotonic)
        self.calls = 0
        self.waited = 0.0
        self.behind = 0.0

    def __repr__(self) -> str:
        return f"HttpSession({self.system!r})"

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        decode: Callable[[bytes], T] = decode_json,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        accept: Collection[int] = (),
        signed: bool = True,
        rate: RateBudget | None = None,
    ) -> Reply[T]:
        """Send a request until it has an end.

        what: in an error's words, `pull of Contact`. decode: bytes of a 2xx answer → value; an
        answer it cannot read counts as none. repeatable: whether the same request twice does what
        it does once; by default all methods but POST. accept: statuses handed back, undecoded
        body in `raw`, instead of raised. rate: a second budget, of this kind of request.

        Raises NotAuthorised, NotPermitted, Refused (no repeat); BudgetSpent, Unavailable (after
        repeats); UnknownOutcome where a request that may not be repeated lost its answer.
        """
        again = method != "POST" if repeatable is None else repeatable
        where = f"{what} ({method} {redact_path(path)})"
        options = self._options
        renewed = False
        trouble = ""
        for attempt in range(options.attempts):
            self._policy.check()
            self._wait_turn(rate, where)
            bearer = self._auth.token() if self._auth is not None and signed else None
            try:
                response = self._send(
                    method, path, params, body, content_type, headers or {}, bearer
                )
            except _NeverSent:
                trouble = "no connection"
                self._pause(attempt, None)
                continue
            except _LostAnswer as lost:
                trouble = str(lost)
                if not again:
                    raise self._unknown(where, trouble) from None
                self._pause(attempt, None)
                continue
            status, content = response.status_code, response.content
            self._policy.seen(response.headers)
            self._look_at_clock(response.headers)
            if 200 <= status < 300:
                try:
                    return Reply(status, response.headers, decode(content), content)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    kind = response.headers.get("Content-Type", "no content type").split(";")[0]
                    trouble = f"an answer that is not what was asked for ({kind[:40]})"
                    if not again:
                        raise self._unknown(where, trouble) from None
                    self._pause(attempt, None)
                    continue
            if self._policy.expired(status, content):
                if renewed or bearer is None or not self._renew(bearer):
                    raise NotAuthorised(
                        f"{self.system}: {where}: the credentials are refused (HTTP {status}). "
                        "Not retried. Re-authorise: check the credentials in the source's "
                        "defs.yaml and that the app is still allowed."
                    )
                renewed = True
                continue
            if status in accept:
                return Reply(status, response.headers, decode(b""), content)
            reason = self._policy.stop(status, response.headers, content)
            if reason is not None:
                raise BudgetSpent(f"{self.system}: {where}: {reason}")
            if status in _REPEATED or status == _LOCKED:
                trouble = f"HTTP {status}"
                told = retry_after(response.headers, options.now())
                if told is None:
                    told = self._policy.wait(status, response.headers, content)
                if told is not None:
                    # One request's answer holds back all, those of other threads and runs too.
                    self._closed.close(told)
                if not again and status not in _UNPROCESSED:
                    raise self._unknown(where, trouble)
                self._pause(attempt, told)
                continue
            raise self._refused(where, status, content, body)
        raise Unavailable(
            f"{self.system}: {where}: {trouble} at each of {options.attempts} attempts. "
            "Nothing was lost; the next run goes on from here. Check that the system is up and "
            "that its address in the source's defs.yaml is right."
        )

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        headers: Mapping[str, str],
        bearer: str | None,
    ) -> requests.Response:
        sent = {"Accept": "application/json", **headers}
        if body is not None:
            sent["Content-Type"] = content_type
        if bearer is not None:
            sent[self._auth_header] = bearer
        self._add(calls=1)
        timeouts = (self._options.connect_timeout, self._options.read_timeout)
        try:
            return self._session().request(
                method,
                self._base + path,
                params=params,
                data=body,
                headers=sent,
                timeout=timeouts,
                allow_redirects=False,
            )
        # `from None` throughout: the originals quote URL and query string.
        except requests.exceptions.ConnectTimeout:
            raise _NeverSent from None
        except requests.exceptions.Timeout:
            raise _LostAnswer("no answer in time") from None
        except requests.exceptions.ConnectionError as error:
            if _never_sent(error):
                raise _NeverSent from None
            raise _LostAnswer("the connection broke") from None
        except (
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
        ):
            raise _LostAnswer("the answer broke off") from None
        except requests.exceptions.RequestException as error:
            raise ConnectorError(
                f"{self.system}: the request could not be made ({type(error).__name__}). "
                "Not retried. Check the url in the source's defs.yaml."
            ) from None

    def _session(self) -> requests.Session:
        """One session a thread: requests does not promise more."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            # Neither a netrc file nor a redirect may put other credentials on a request.
            session.trust_env = False
            session.proxies = requests.utils.get_environ_proxies(self._base)
            verify = os.environ.get("REQUESTS_CA_BUNDLE")
            session.verify = verify or True
            self._local.session = session
        return session

    def _renew(self, stale: str) -> bool:
        return self._auth is not None and self._auth.renew(stale)

    def _wait_turn(self, rate: RateBudget | None, where: str) -> None:
        options = self._options
        held = self._closed.left()
        if held > options.longest_wait:
            raise BudgetSpent(
                f"{self.system}: {where}: not sent, since the system asked to wait {held:.0f} s "
                "more. A later run goes on from here."
            )
        if held > 0:
            # A little more than told, so that waiting streams do not come back all at once.
            held += options.rng.random() * min(1.0, held * 0.1)
            options.sleep(held)
            self._add(waited=held)
        for budget in (self._rate, rate):
            if budget is not None:
                self._add(waited=budget.take())

    def _look_at_clock(self, headers: Mapping[str, str]) -> None:
        try:
            theirs = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError):
            return
        theirs = theirs.replace(tzinfo=UTC) if theirs.tzinfo is None else theirs
        behind = (self._options.now() - theirs).total_seconds()
        self.behind = behind if behind > _ROUNDING else 0.0

    def _pause(self, attempt: int, told: float | None) -> None:
        """Wait a random part of a doubling span before the next attempt; where the system said how
        long, the attempt's own turn waits for it."""
        options = self._options
        if attempt + 1 >= options.attempts or told is not None:
            return
        span = min(options.backoff * 2**attempt, options.longest_backoff)
        seconds = span * (0.5 + options.rng.random() / 2)
        options.sleep(seconds)
        self._add(waited=seconds)

    def _add(self, *, calls: int = 0, waited: float = 0.0) -> None:
        with self._count:
            self.calls += calls
            self.waited += waited

    def _unknown(self, where: str, trouble: str) -> UnknownOutcome:
        return UnknownOutcome(
            f"{self.system}: {where}: {trouble}. It may or may not have taken effect, so it is not "
            "sent again; the ledger decides by looking."
        )

    def _refused(
        self, where: str, status: int, content: bytes, sent: bytes | None
    ) -> ConnectorError:
        codes, text = self._policy.codes(content)
        said = "; ".join(p for p in (", ".join(codes), redact(text, _scalars(sent))) if p)
        message = f"{self.system}: {where}: HTTP {status}: {said or 'no reason given'}."
        if status == 403:
            return NotPermitted(
                f"{message} Not retried. Give the app's user access to this object, or take it "
                "out of the source's `objects`."
            )
        return Refused(f"{message} Not retried.", status=status, codes=codes, body=content)


def _scalars(sent: bytes | None) -> set[str]:
    """The values in a JSON body that was sent: what an answer may quote and an error may not."""
    found: set[str] = set()
    try:
        waiting: list[Any] = [msgspec.json.decode(sent)] if sent else []
    except msgspec.DecodeError:
        return found
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            found.add(str(value))
    return found


class _NeverSent(Exception):
    """No byte of the request reached the system."""


class _LostAnswer(Exception):
    """The request may have arrived; its answer did not."""


def _never_sent(error: requests.exceptions.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(
        reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.NameResolutionError
    )
