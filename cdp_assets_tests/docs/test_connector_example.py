"""The connector of docs/connectors.md, unmodified, in a project of its own against a small CRM."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cdp_assets import cli
from cdp_assets.definitions import load
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "connector"
KEY = "k-secret"

DEFS = {
    "pipeline": """
type: pipeline.Pipeline
attributes:
  url: "{{ env.PIPELINE_URL }}"
  key: "{{ env.PIPELINE_KEY }}"
  objects: [contacts]
""",
    "identity": """
type: cdp_assets.Identity
attributes: {person: {identifiers: {email: {limit: 3}}}}
""",
    "person": """
type: cdp_assets.Traits
attributes:
  entity: person
  traits:
    email: {latest: [pipeline.contacts.email]}
    title: {latest: [pipeline.contacts.title]}
    rank: {expr: "case when title = 'CEO' then 9 else 1 end"}
""",
    "ranks": """
type: cdp_assets.Sync
attributes:
  from: person
  to: pipeline.contacts
  fields: {score: rank}
  approve: never
""",
}


class PipelineCrm(ThreadingHTTPServer):
    """The small CRM: contacts by id."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contacts: dict[int, dict[str, Any]] = {}
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put(self, number: int, at: str, **fields: Any) -> None:
        before = self.contacts.get(number, {"score": None, "deleted": False})
        self.contacts[number] = {**before, "id": number, "updated_at": at, **fields}


class _Handler(BaseHTTPRequestHandler):
    server: PipelineCrm

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not self._may():
            return
        if parts.path == "/fields/contacts":
            texts = [{"name": n, "type": "string"} for n in ("name", "email", "title")]
            self._answer([*texts, {"name": "score", "type": "integer"}])
            return
        found = sorted(self.server.contacts.values(), key=lambda c: (c["updated_at"], c["id"]))
        if "since" in asked:
            found = [c for c in found if asked["since"] <= c["updated_at"] < asked["until"]]
            ids = [str(c["id"]) for c in found]
            start = ids.index(asked["after"]) + 1 if "after" in asked else 0
            page = found[start : start + int(asked.get("limit", 2))]
            more = page and page[-1] is not found[-1]
            self._answer({"items": page, "next": str(page[-1]["id"]) if more else None})
            return
        ((name, values),) = asked.items()
        field = "id" if name == "ids" else name
        wanted = set(values.split(","))
        live = [c for c in found if not c["deleted"]]
        self._answer({"items": [c for c in live if str(c[field]) in wanted]})

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        if not self._may():
            return
        answers = []
        for row in rows:
            number = int(row["id"])
            if self.server.contacts.get(number, {"deleted": True})["deleted"]:
                answers.append({"error": "not_found"})
            else:
                self.server.contacts[number] |= row["fields"]
                answers.append({"id": number})
        self._answer({"rows": answers})

    def _may(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {KEY}":
            return True
        self.server.refused += 1
        self._answer({}, 401)
        return False

    def _answer(self, body: Any, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def crm() -> Iterator[PipelineCrm]:
    with PipelineCrm() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for number in range(1, 6):
            at = f"2026-03-0{number}T10:00:00+00:00"
            title = "CEO" if number == 2 else "Clerk"
            server.put(number, at, name=f"N{number}", email=f"p{number}@example.com", title=title)
        server.contacts[5]["deleted"] = True
        yield server
        server.shutdown()


@pytest.fixture
def project(tmp_path: Path, crm: PipelineCrm, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose own package `pipeline` lies beside its definitions."""
    root = tmp_path / "company"
    shutil.copytree(EXAMPLE / "pipeline", root / "src" / "pipeline")
    for name, text in DEFS.items():
        file = root / "src" / "customers_of_pipeline" / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (root / "src" / "customers_of_pipeline" / "__init__.py").touch()
    (root / "src" / "customers_of_pipeline" / "defs" / "__init__.py").touch()
    (root / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "customers_of_pipeline"\n'
    )
    for name in ("CDP_DEFS", "CDP_NOW", "CDP_START", "CDP_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_URL", crm.url)
    monkeypatch.setenv("PIPELINE_KEY", KEY)
    monkeypatch.syspath_prepend(str(root / "src"))
    monkeypatch.chdir(root)
    return root


def test_the_example_works_like_any_other_system(
    project: Path, crm: PipelineCrm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["describe", "pipeline"]) == 0
    assert "contacts: 4 fields" in capsys.readouterr().out
    assert cli.main(["check"]) == 0, capsys.readouterr().err
    here = Platform(Settings(), load_deployment(project / "src" / "customers_of_pipeline" / "defs"))
    pulled = here.pull("pipeline", "contacts", None, None, "run")
    assert (pulled.new, pulled.deleted) == (5, 1)
    here.build_records()
    here.resolve()
    assert here.build_profiles("person").profiles == 4
    assert here.plan("ranks").updates == 4
    assert here.apply("ranks", "run").written == 4
    scores = {number: contact["score"] for number, contact in crm.contacts.items()}
    assert scores == {1: 1, 2: 9, 3: 1, 4: 1, 5: None}
    crm.put(1, "2026-03-09T10:00:00+00:00", title="CEO")
    assert [name for name, _ in here.objects_with_news("pipeline")] == []
    assert here.apply("ranks", "run").written == 0


def test_a_misspelt_field_is_named_with_its_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["describe", "pipeline"]) == 0
    file = project / "src" / "customers_of_pipeline" / "defs" / "ranks" / "defs.yaml"
    file.write_text(file.read_text().replace("score:", "scor:"))
    assert cli.main(["check"]) == 2
    assert re.search(r"ranks/defs.yaml:6: .*`scor`; did you mean score", capsys.readouterr().err)


def test_a_wrong_key_is_one_message(
    project: Path,
    crm: PipelineCrm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PIPELINE_KEY", "k-wrong")
    assert cli.main(["describe", "pipeline"]) == 2
    said = capsys.readouterr().err
    assert "the credentials are refused" in said
    assert "k-wrong" not in said
    assert crm.refused


def test_dagster_loads_it_without_its_variables_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_URL")
    monkeypatch.delenv("PIPELINE_KEY")
    (project / "src" / "customers_of_pipeline" / "definitions.py").touch()
    found = load(project / "src" / "customers_of_pipeline")
    keys = {spec.key.to_user_string() for spec in found.resolve_all_asset_specs()}
    assert {"raw/pipeline/contacts", "crm/pipeline", "crm/pipeline/reconciliation"} <= keys
    assert {s.name for s in found.sensors or ()} >= {"pipeline_changes"}


def test_every_file_of_the_guide_is_there() -> None:
    text = (ROOT / "docs" / "connectors.md").read_text("utf-8")
    named = set(re.findall(r"\]\((examples/[^)]+)\)", text))
    assert len(named) == 4
    for path in named:
        assert (ROOT / "docs" / path).exists(), path
