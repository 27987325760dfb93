"""What several regions on one machine are made of, before anything is started."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from deploy.local import haproxy, regions
from deploy.local.regions import REGIONS, RegionsShape, make_layout
from workers.embedded.plan import Options
from workers.embedded.processes import EmbeddedError

URLS = {
    "DATABASE_URL": "postgresql://here/db",
    **{name: f"redis://{name}/0" for name in REGIONS},
}


def _make(folder: Path, **shape: object) -> regions.RegionsLayout:
    options = Options(data_dir=folder, port=0)
    return make_layout(options, RegionsShape(**shape), urls=URLS)  # type: ignore[arg-type]


def test_each_region_has_its_own_redis_and_upstream_and_shares_the_rest(tmp_path):
    stand = _make(tmp_path)
    environments = [plan.environment for plan in stand.plans.values()]

    own = [{each[name] for each in environments} for name in ("REDIS_URL",)]
    assert own == [{URLS[name] for name in REGIONS}]
    assert len({plan.emulator for plan in stand.plans.values()}) == len(REGIONS)
    for name in (
        *("DATABASE_URL", "SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "MEDIA_ROOT"),
        *("BASE_URL", "REGION_REDIS_URLS"),
    ):
        assert len({each[name] for each in environments}) == 1, name
    assert environments[0]["BASE_URL"] == stand.front


def test_a_region_has_its_own_dispatcher_workers_and_doors(tmp_path):
    stand = _make(tmp_path)

    names = [program.name for program in regions.programs(stand, "eu-west-1")]

    assert names == [
        f"{kind}-eu-west-1"
        for kind in ("dispatcher", "worker", "webhooks", "web", "live")
    ]


@pytest.fixture
def check(tmp_path) -> Callable[[Path, Mapping[str, str]], None]:
    try:
        program = haproxy.find()
    except EmbeddedError as error:
        pytest.skip(f"NOT tested: {error}")

    def check(config: Path, environment: Mapping[str, str]) -> None:
        checked = subprocess.run(
            (program, "-c", "-f", config),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        assert "WARNING" not in checked.stderr

    return check


@pytest.mark.parametrize("present", [REGIONS, REGIONS[:2]])
def test_haproxy_takes_its_configuration(tmp_path, check, present):
    front = regions.front(_make(tmp_path, regions=present))

    check(regions.CONFIG, front.command.env)


def test_haproxy_takes_its_configuration_for_a_sentinel_group(check):
    config = regions.CONFIG.with_name("redis.cfg")
    names = set(re.findall(r"\$\{(\w+)\}", config.read_text()))

    check(config, {name: f"127.0.0.1:{n}" for n, name in enumerate(names, start=1)})
