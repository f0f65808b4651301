"""Settings from environment and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.settings import CoordinatorSettings
from core.errors import ConfigurationError
from core.settings import load
from workernode.settings import WorkerSettings

MOCK = {"NODE_TYPE": "mock", "MODEL_NAME": "m", "PULSAR_URL": "pulsar://127.0.0.1:6650"}
BOTH = (WorkerSettings, CoordinatorSettings)


def worker(environ: dict[str, str], file: Path | None = None) -> WorkerSettings:
    return load(WorkerSettings, environ=environ, file=file, also_known=BOTH)


def test_the_names_of_the_earlier_system_are_read() -> None:
    settings = worker(
        {
            "NODE_TYPE": "remote",
            "MODEL_NAME": "gpt",
            "API_URL": "https://api.example",
            "API_KEY": "k",
            "MAX_PROCESS_NUM": "7",
            "PULSAR_URL": "pulsar://127.0.0.1:6650",
            "PULSAR_TOKEN": "t",
            "RES_TOPIC_NAME": "bills",
            "DEBUG": "true",
            "AIMODEL_NAME": "a",
            "AIMODEL_NAMESPACE": "n",
            "PORT": "9000",
        }
    )
    assert (settings.max_process_num, settings.res_topic_name, settings.debug, settings.port) == (
        7,
        "bills",
        True,
        9000,
    )
    assert settings.api_key.get_secret_value() == "k"


def test_defaults_hold_where_nothing_is_said_and_an_empty_variable_is_unset() -> None:
    settings = worker(MOCK | {"PULSAR_TOKEN": "", "MAX_PROCESS_NUM": ""})
    assert (settings.max_process_num, settings.res_topic_name) == (128, "res-topic")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agentos.toml"
    file.write_text('model_name = "of the file"\nprefetch = 9\nrequest_timeout_seconds = 5\n')
    settings = worker(MOCK, file)
    assert (settings.model_name, settings.prefetch) == ("m", 9)


def test_secrets_are_never_shown() -> None:
    settings = worker(MOCK | {"PULSAR_TOKEN": "hush-hush"})
    assert "hush-hush" not in f"{settings!r} {settings.describe()} {settings.model_dump()}"
    assert settings.describe()["pulsar_token"] == "set"
    assert settings.describe()["api_key"] == "unset"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "NODE_TYPE: is missing; MODEL_NAME: is missing"),
        (MOCK | {"AGENTOS_PREFECH": "2"}, "unknown variable AGENTOS_PREFECH; did you mean AGENTOS_PREFETCH?"),
        (MOCK | {"MAX_PROCESS_NUM": "many"}, "MAX_PROCESS_NUM: Input should be a valid integer"),
        (MOCK | {"NODE_TYPE": "remote"}, "API_URL: is missing"),
        (MOCK | {"NODE_TYPE": "remot"}, "NODE_TYPE: Input should be 'mock', 'remote' or 'local'"),
        (MOCK | {"AGENTOS_BUS_URL": "postgresql://x"}, "set one of PULSAR_URL"),
    ],
)
def test_what_is_wrong_is_said_with_its_name(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match="(?s)" + said.replace("?", r"\?").replace("(", r"\(")):
        worker(environ)


def test_an_error_does_not_show_the_value() -> None:
    with pytest.raises(ConfigurationError) as error:
        worker(MOCK | {"PORT": "a-secret-by-mistake"})
    assert "a-secret-by-mistake" not in str(error.value)


def test_an_unknown_name_in_the_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "agentos.toml"
    file.write_text('modle_name = "m"\n')
    with pytest.raises(ConfigurationError, match=r"unknown name modle_name; did you mean model_name\?"):
        worker(MOCK, file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml"):
        worker(MOCK, tmp_path / "missing.toml")
