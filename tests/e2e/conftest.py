"""Fixtures. By default a test gets a session daemon, under an ordinary user's number when the tests run as root."""
import os
import pathlib
import subprocess

import pytest

from world import IS_ROOT, NEWER_QEMU, SANITIZED, World

needs_root_reason = "needs root"
# Not even continuous integration has it everywhere: packages of another release, over the network.
not_available = "not available: "


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_root: system mode, uids, mounts")
    config.addinivalue_line("markers", "not_sanitized: another tool watches the program here")
    config.addinivalue_line("markers", "newer_qemu: what this system's QEMU cannot do; newer-qemu runs it")
    config.addinivalue_line("markers", "settings(text): what vored.toml says")
    config.addinivalue_line("markers", "environment(**variables): of vored and vore")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("needs_root") and not IS_ROOT:
            item.add_marker(pytest.mark.skip(reason=needs_root_reason))
    items[:] = [i for i in items if not (SANITIZED and i.get_closest_marker("not_sanitized"))
                and (NEWER_QEMU or not i.get_closest_marker("newer_qemu"))]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With VORE_NO_SKIP a test that does not run has failed, unless it needs root and we are not, or what cannot be had."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("VORE_NO_SKIP") and not any(
            reason in str(report.longrepr) for reason in (needs_root_reason, not_available)):
        report.outcome = "failed"
        report.longrepr = f"skipped, but VORE_NO_SKIP is set: {report.longrepr}"
    if report.when == "call" and report.failed:
        world = next((v for v in item.funcargs.values() if isinstance(v, World)), None)
        if world and world.log.exists():
            report.sections.append(("vored's output", world.log.read_text(errors="replace")[-8000:]))
            for log in sorted(pathlib.Path(world.base).rglob("log/*.log")):
                report.sections.append((str(log), log.read_text(errors="replace")[-2000:]))


@pytest.fixture
def make_world(request):
    worlds = []

    def make(mode="session", **options):
        settings = request.node.get_closest_marker("settings")
        environment = request.node.get_closest_marker("environment")
        options.setdefault("settings", settings.args[0] if settings else "")
        options.setdefault("env", environment.kwargs if environment else {})
        worlds.append(World(mode, **options))
        return worlds[-1]

    yield make
    problems = []
    for world in worlds:
        try:
            world.close()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def world(make_world):
    """A running session daemon."""
    return make_world().start()


@pytest.fixture
def unstarted(make_world):
    """A session without its daemon."""
    return make_world()


@pytest.fixture
def root_world(make_world):
    """A running system daemon."""
    return make_world("system").start()


@pytest.fixture(params=["session", pytest.param("system", marks=pytest.mark.needs_root)])
def any_world(request, make_world):
    """One of each."""
    return make_world(request.param).start()


@pytest.fixture
def qcow2(world):
    def make(name, size="1M"):
        path = world.images / name
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, size], check=True)
        return world.write(path, path.read_bytes())
    return make
