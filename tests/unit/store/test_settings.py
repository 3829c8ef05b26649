"""Settings: one folder, or a URL for each part."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import redis
from kombu import Connection
from pydantic import ValidationError

from migrations.upgrade import upgrade
from secateur.store.ages import Ages
from secateur.store.blobs import BlobStore
from secateur.store.database import Timeouts, make_engine
from secateur.store.settings import Settings
from secateur.store.startup import starting
from tests.support.postgres import Postgres
from tests.support.store import redis_server


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SECATEUR_{name.upper()}", raising=False)


def test_everything_lies_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECATEUR_DATA_DIR", str(tmp_path))
    settings = Settings()
    assert settings.data_dir == tmp_path
    assert settings.database_url == f"sqlite:///{tmp_path}/secateur.db"
    assert settings.redis_url == f"unix://{tmp_path}/redis.sock"
    assert settings.celery_broker_url == f"redis+socket://{tmp_path}/redis.sock"
    assert settings.blob_url == f"file://{tmp_path}/blobs"


def test_each_part_may_have_its_own_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_DATABASE_URL", "postgresql+psycopg://db/secateur")
    monkeypatch.setenv("SECATEUR_REDIS_URL", "rediss://queue:6379/1")
    monkeypatch.setenv("SECATEUR_BLOB_URL", "s3://bucket/blobs")
    settings = Settings()
    assert settings.database_url == "postgresql+psycopg://db/secateur"
    assert settings.redis_url == settings.celery_broker_url == "rediss://queue:6379/1"
    assert settings.blob_url == "s3://bucket/blobs"


def test_how_long_the_database_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().database_timeouts == Timeouts()
    monkeypatch.setenv("SECATEUR_LOCK_TIMEOUT_SECONDS", "2.5")
    monkeypatch.setenv("SECATEUR_STATEMENT_TIMEOUT_SECONDS", "0")
    assert Settings().database_timeouts == Timeouts(lock_seconds=2.5, statement_seconds=0)


def test_the_default_folder_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / ".local/share/secateur"


def test_a_relative_folder_does_not_move_with_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("data")).blob_url == f"file://{tmp_path}/data/blobs"


@pytest.mark.parametrize(
    "url",
    ["blobs", "/srv/blobs", "file://", "file:///", "file:////", "file://srv/blobs", "s3://", "s3:///blobs", "s3://me:pw-1@b/c"],
)
def test_what_names_no_blob_store_is_refused_and_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_BLOB_URL", url)
    with pytest.raises(ValidationError, match=r"blob_url\n.*file:///PATH, s3://BUCKET") as caught:
        Settings()
    assert "pw-1" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///srv/blobs", "file:////srv", "s3://bucket", "s3://bucket/", "s3://bucket/a/b"])
def test_what_names_a_blob_store_is_taken_as_it_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_BLOB_URL", url)
    assert Settings().blob_url == url


@pytest.mark.parametrize(
    "url",
    ["foo:pw-1", "redis://host:pw-1/0", "redis://:pw-1@host/name", "redis://:pw-1@host/1/2", "unix://", "unix://:pw-1@?db=1"],
)
def test_what_names_no_redis_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValidationError, match=r"redis_url\n.*unix:///PATH") as caught:
        Settings(redis_url=url)
    assert "pw-1" not in str(caught.value)


def test_celery_finds_the_same_redis(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        redis.Redis.from_url(url).config_set("requirepass", "pw @1+")
        path, password = f"{tmp_path}/redis.sock", "pw%20%401%2B"
        for number, login in enumerate(
            (f":{password}@{path}?", f"{path}?password={password}&", f"default@{path}?password={password}&")
        ):
            settings = Settings(redis_url=f"unix://{login}db={number}")
            with Connection(settings.celery_broker_url) as broker, broker.SimpleQueue("queue") as queue:
                queue.put("message")
            with redis.Redis.from_url(settings.redis_url) as client:
                assert client.llen("queue") == 1


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_setting_is_neither_a_value_nor_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder would be the working directory: a sweep has deleted what it found there."""
    monkeypatch.setenv(f"SECATEUR_{name.upper()}", "")
    with pytest.raises(ValidationError, match=rf"(?m)^{name}\n.*set but empty"):
        Settings()


@pytest.mark.parametrize("name", ["what?", "50%25", "no#1", "a::b"])
def test_a_folder_that_would_be_another_one_in_a_url_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"data_dir\n.*without \? # % ::") as caught:
        Settings(data_dir=tmp_path / name / "data")
    assert f"Received: {tmp_path}/{name}/data" in str(caught.value)


def test_what_lies_in_a_folder_that_is_refused_is_no_problem_of_its_own() -> None:
    with pytest.raises(SystemExit, match=r"^program: SECATEUR_DATA_DIR: [^;]*$"), starting("program"):
        Settings(data_dir=Path("/srv/what?"))


@pytest.mark.parametrize("name", ["a b", "me@home:1", "größe", "a+b&c=d;e,f'[g]{h}*"])
def test_database_and_blobs_lie_in_a_folder_whatever_its_name(name: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / name)
    upgrade(settings.database_url)
    BlobStore(settings.blob_url).put(b"data")
    assert {path.name for path in (tmp_path / name).iterdir()} >= {"secateur.db", "blobs"}
    for url in (settings.redis_url, settings.celery_broker_url.replace("redis+socket", "unix")):
        assert redis.Redis.from_url(url).connection_pool.connection_kwargs["path"] == f"{tmp_path}/{name}/redis.sock"


@pytest.mark.parametrize(
    ("name", "least", "less"),
    [
        ("lock_timeout_seconds", 0.1, 0),
        ("statement_timeout_seconds", 0, -1),
        ("lease_seconds", 0.1, 0),
        ("max_running_jobs", 1, 0),
        ("max_run_seconds", 0.1, 0),
        ("blob_grace_seconds", 7200, 7199),
        ("upload_retention_seconds", 0.1, 0),
        ("training_retention_seconds", 0.1, 0),
        ("deleted_retention_seconds", 3600, 3599),
    ],
)
def test_less_than_the_least_is_refused(name: str, least: float, less: float) -> None:
    assert getattr(Settings.model_validate({name: least}), name) == least
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: less})


def test_each_kind_of_garbage_has_its_own_age() -> None:
    settings = Settings(blob_grace_seconds=7200, upload_retention_seconds=1, training_retention_seconds=2)
    assert settings.ages == Ages(timedelta(hours=2), timedelta(seconds=1), timedelta(seconds=2))


@pytest.mark.parametrize("name", ["lock_timeout_seconds", "statement_timeout_seconds"])
@pytest.mark.parametrize("value", [30 * 24 * 3600.0, float("inf"), float("nan")])
def test_a_time_that_no_database_counts_to_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def test_the_longest_times_of_a_database_are_taken_by_it(postgres: Postgres) -> None:
    timeouts = Settings(lock_timeout_seconds=86_400, statement_timeout_seconds=86_400).database_timeouts
    with postgres.database() as url:
        engine = make_engine(url, timeouts)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "1d"
        engine.dispose()
