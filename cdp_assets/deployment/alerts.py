"""Alerts: one message to a webhook or by e-mail, with what happened and what to do about it."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from cdp_assets.connectors.base import ConnectorError
from cdp_assets.connectors.config import url_mistake
from cdp_assets.connectors.http import HttpOptions, HttpSession
from cdp_assets.settings import Settings

Way = Literal["webhook", "email"]
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_PATIENCE = HttpOptions(attempts=3, read_timeout=20.0, longest_wait=10.0)


class AlertError(Exception):
    """An alert could not be delivered. It is tried again; the text holds no secret."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One message. where: the asset, sync or step. what: without a value of any record.
    do: the next thing to do. link: to the run. owner: who answers for what it is about; an e-mail
    address among them gets the mail too."""

    severity: Literal["error", "warning", "waiting"]
    where: str
    what: str
    do: str
    run_id: str = ""
    link: str = ""
    owner: str = ""

    @property
    def key(self) -> str:
        """The same for alerts that say the same."""
        return f"{self.severity}|{self.where}|{self.what}"

    @property
    def text(self) -> str:
        """The whole message for people."""
        whose = f"Owner: {self.owner}" if self.owner else ""
        first = f"[{self.severity}] {self.where}: {self.what}"
        lines = [first, f"To do: {self.do}", whose, self.link]
        return "\n".join(line for line in lines if line)


def ways(settings: Settings) -> tuple[Way, ...]:
    """The ways that alerts go; none where the settings name neither."""
    named: dict[Way, object] = {"webhook": settings.alert_webhook, "email": settings.alert_email}
    return tuple(way for way, there in named.items() if there)


def deliver(settings: Settings, alert: Alert, way: Way) -> None:
    """Send an alert one way. Raises AlertError where it fails."""
    if way == "webhook":
        assert settings.alert_webhook is not None
        _post(settings.alert_webhook.get_secret_value(), alert)
    else:
        addresses = settings.alert_email or ""
        usual = [a.strip() for a in addresses.split(",") if a.strip()]
        own = [a.strip() for a in alert.owner.split(",") if "@" in a]
        _mail(settings, list(dict.fromkeys([*usual, *own])), alert)


def _post(url: str, alert: Alert) -> None:
    if (problem := url_mistake(url)) is not None:
        raise AlertError(f"CDP_ALERT_WEBHOOK {problem}")
    body = msgspec.json.encode(
        {
            "text": alert.text,
            "severity": alert.severity,
            "where": alert.where,
            "what": alert.what,
            "do": alert.do,
            "owner": alert.owner,
            "run_id": alert.run_id,
            "link": alert.link,
        }
    )
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    session = HttpSession(
        "CDP_ALERT_WEBHOOK", f"{parts.scheme}://{parts.netloc}", options=_PATIENCE
    )
    try:
        session.request("POST", path, what="alert", body=body, decode=bytes, repeatable=True)
    except ConnectorError as error:
        # Its path is a secret of many chats.
        raise AlertError(
            f"The alert could not be posted to CDP_ALERT_WEBHOOK ({type(error).__name__})."
        ) from None


def _local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _mail(settings: Settings, to: Sequence[str], alert: Alert) -> None:
    if settings.smtp_url is None:
        raise AlertError("CDP_ALERT_EMAIL is set, and CDP_SMTP_URL is not: set both")
    parts = urlsplit(settings.smtp_url.get_secret_value())
    if parts.scheme not in _PORTS or not parts.hostname:
        raise AlertError("CDP_SMTP_URL must begin with smtp://, smtp+starttls:// or smtps://")
    if parts.scheme == "smtp" and parts.username and not _local(parts.hostname):
        raise AlertError(
            "CDP_SMTP_URL would send its password unencrypted: begin it with smtp+starttls:// or "
            "smtps://, or leave USER:PASSWORD@ out (smtp:// with a password is for this machine)"
        )
    message = EmailMessage()
    message["Subject"] = f"CDP: [{alert.severity}] {alert.where}"
    message["From"] = to[0]
    message["To"] = ", ".join(to)
    message.set_content(alert.text)
    port, context = parts.port or _PORTS[parts.scheme], ssl.create_default_context()
    try:
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(parts.hostname, port, timeout=20, context=context)
        else:
            server = smtplib.SMTP(parts.hostname, port, timeout=20)
        with server:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise AlertError(
            f"The alert could not be mailed by CDP_SMTP_URL ({type(error).__name__})."
        ) from None
