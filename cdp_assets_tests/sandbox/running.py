"""Starts the sandbox as its users do: in a process of its own, over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests


@dataclass
class Running:
    """A sandbox that answers at `url`."""

    url: str
    home: Path
    lines: list[dict[str, str]]
    session: requests.Session
    process: subprocess.Popen[str]

    def control(self, method: str, name: str, body: Any = None) -> Any:
        """`/_sandbox/<name>`."""
        reply = self.session.request(method, f"{self.url}/_sandbox/{name}", json=body, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def system(self, name: str) -> dict[str, str]:
        """What the command printed of a system."""
        return next(line for line in self.lines if line["system"] == name)

    def token(self) -> str:
        """A Salesforce access token."""
        mine = self.system("salesforce")
        reply = self.session.post(
            f"{mine['url']}/services/oauth2/token",
            data={
                "grant_type": "client_credentials",
                "client_id": mine["client_id"],
                "client_secret": mine["client_secret"],
            },
            timeout=60,
        )
        return str(reply.json()["access_token"])

    def salesforce(self, method: str, path: str, **more: Any) -> requests.Response:
        """One authorised request below /services/data/v62.0."""
        headers = {"Authorization": f"Bearer {self.token()}", **more.pop("headers", {})}
        url = f"{self.url}/services/data/v62.0{path}"
        return self.session.request(method, url, headers=headers, timeout=30, **more)

    def hubspot(self, method: str, path: str, **more: Any) -> requests.Response:
        """One authorised request."""
        headers = {"Authorization": f"Bearer {self.system('hubspot')['token']}"}
        return self.session.request(method, self.url + path, headers=headers, timeout=30, **more)

    def query(self, text: str, *, deleted_too: bool = False) -> list[dict[str, Any]]:
        """All records that a query finds."""
        path = "/queryAll" if deleted_too else "/query"
        reply = self.salesforce("GET", path, params={"q": text})
        assert reply.status_code == 200, reply.text
        return list(reply.json()["records"])


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[Running]:
    """A sandbox with its world in `home`, stopped by SIGTERM in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cdp_assets.sandbox", "--home", str(home), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(5)]
        with requests.Session() as session:
            yield Running(lines[0]["url"], home, lines, session, process)
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
