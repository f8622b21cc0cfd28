"""The helper that skips what a machine lacks, and refuses to where it must not."""

import pytest

from tests.support import require


@pytest.fixture(autouse=True)
def _empty_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)


NEEDS = {
    "no_such_module": lambda: require.module("no_such_module.inside"),
    "chromium": require.chromium,
    "dot": require.dot,
}


@pytest.mark.parametrize("name", NEEDS)
def test_absent_is_skipped_with_a_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_MHA_REQUIRE", "something,else")
    with pytest.raises(pytest.skip.Exception, match=r"not installed|on the PATH"):
        NEEDS[name]()


@pytest.mark.parametrize("name", NEEDS)
def test_required_and_absent_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_MHA_REQUIRE", f"something, {name}")
    with pytest.raises(require.RequirementError, match=f"names '{name}'"):
        NEEDS[name]()
