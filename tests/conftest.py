"""What every run of the tests says at its end."""

LOUD = "NOT tested"


def pytest_terminal_summary(terminalreporter) -> None:
    """Say in red what could not be tested on this machine, and why."""
    skipped = terminalreporter.getreports("skipped")
    reasons = {each.longrepr[2] for each in skipped if LOUD in str(each.longrepr)}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"WARNING: {reason}", red=True, bold=True)
