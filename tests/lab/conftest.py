"""Fixtures. A scenario is a module; its HOST says which L1 it wants, which all of its tests share."""
import os

import pytest

import kernel
from l1 import L1, Host
from world import World


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also what takes long")
    parser.addoption("--console", action="store_true", help="show L1's console at the end of each scenario")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only with --long")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[i for i in items if i.get_closest_marker("long")])
        items[:] = [i for i in items if not i.get_closest_marker("long")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("VORE_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but VORE_NO_SKIP is set: {report.longrepr}"
    machine = item.funcargs.get("machine")
    if report.failed and machine and machine.console.exists():
        report.sections.append(("L1's console", machine.console.read_text(errors="replace")[-12000:]))
        if machine.running and call.when == "call":
            report.sections.append(("vored in L1", lately(machine)))


def lately(machine):
    try:
        return machine.run("tail -n 100 /run/lab/vored.log /var/log/vore/*.log /run/lab/*.console; dmesg | tail -n 50",
                           seconds=20).out
    except (AssertionError, OSError) as problem:
        return str(problem)


@pytest.fixture(scope="module")
def machine(request):
    """The module's L1, maybe off. For what `l1` and `world` do not do: power, a second boot."""
    try:
        kernel.initramfs(kernel.get_kernel())
    except kernel.Unavailable as reason:
        pytest.skip(str(reason))
    machine = L1(getattr(request.module, "HOST", Host()))
    try:
        yield machine
    finally:
        if request.config.getoption("--console"):
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print(machine.console.read_text(errors="replace"))
        machine.close()


@pytest.fixture
def l1(machine, request, record_property):
    """The module's L1, running."""
    if not machine.running:
        machine.start()
        record_property("boot_seconds", round(machine.boot_s))
        print(f"L1 took {machine.boot_s:.0f} s to boot")
    return machine


@pytest.fixture
def world(l1):
    return World(l1)
