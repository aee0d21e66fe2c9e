"""What an error says at a terminal: each thing once."""

import pytest

from models.errors import LoadError, Problem
from service.errors import ConfigError, NotFollowed, in_lines

FIRST, SECOND = Problem("bind", "it is no address"), Problem("name", "it is no name")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LoadError("it will not load"), "it will not load"),
        (ConfigError("it is not TOML"), "it is not TOML"),
        (ConfigError(str(FIRST), FIRST), "bind: it is no address"),
        (ConfigError(f"{FIRST}; {SECOND}", FIRST, SECOND), "bind: it is no address\n  name: it is no name"),
        (NotFollowed("it was taken back", FIRST), "it was taken back\n  bind: it is no address"),
    ],
)
def test_details_that_the_message_is_made_of_are_told_in_its_place(error: Exception, told: str) -> None:
    assert in_lines(error) == told
