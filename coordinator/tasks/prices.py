"""What models cost, as a setting tells it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.errors import ConfigurationError

# US dollars for a million tokens of a model's prompts and completions.
Prices = Mapping[str, tuple[float, float]]

_prices = msgspec.json.Decoder(dict[str, tuple[float, float]])


def prices_of(text: str) -> Prices:
    """Prices by model; none where the text is empty. Raises `ConfigurationError`."""
    if not text.strip():
        return {}
    try:
        return _prices.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        example = '{"gpt-4o": [2.5, 10]}'
        raise ConfigurationError(f"AGENTOS_PRICES: {error}; it must look like {example}") from None
