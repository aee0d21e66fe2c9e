"""What may be changed of a model while it serves: keys of ``model.toml`` that need no load, laid over what it says.

A change is an object of sections and their keys, as JSON has it. null puts a key, or a whole section, back to what ``model.toml``
says. What is changed of a model is such an object without nulls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from models.errors import LoadError
from models.manifest import FILE, Manifest

#: The sections whose keys take effect without a load.
SECTIONS: Final = ("batching", "cache", "limits")

#: Sections, keys and values.
Changed = Mapping[str, Mapping[str, object]]
Change = Mapping[str, Mapping[str, object] | None]


def overlaid(base: Manifest, changed: Mapping[str, object], *, model: str) -> Manifest:
    """``base`` with what was changed in its place. Raises LoadError where that does not go together."""
    return Manifest.from_json_overrides(json.dumps(changed), model=model, base=base) if changed else base


def held(base: Manifest, changed: Changed, *, model: str) -> Manifest:
    """The same; ``base`` alone where it has become one that what was changed of it does not go with: a model that serves otherwise
    than was wanted is better than one that does not serve."""
    try:
        return overlaid(base, changed, model=model)
    except LoadError:
        return base


def checked(change: object, before: Changed, base: Manifest, *, model: str) -> Change:
    """A change of a model that has ``before`` over ``base``, without the keys that have those values already.

    Raises LoadError, in the words that ``model.toml`` is judged with, and for what takes a load.
    """
    if not isinstance(change, Mapping):
        raise LoadError(f"model {model!r}, config: expected a JSON object such as {{'batching': {{'max_rows': 32}}}}")
    loads = [section for section in change if section in Manifest.model_fields and section not in SECTIONS]
    if loads:
        names = ", ".join(_named(section, change[section]) for section in loads)
        raise LoadError(
            f"model {model!r}, config: {names}: cannot be changed without a load; change {FILE} and load the model again, or give "
            "it to the load as parameters.config"
        )
    overlaid(base, _judged(before, change), model=model)
    current = held(base, before, model=model).model_dump()
    return {
        section: None
        if keys is None
        else {key: value for key, value in keys.items() if value is None or value != current[section][key]}
        for section, keys in change.items()
    }


def laid(before: Changed, change: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """What is changed after a change: its values beside and in place of those before, without the keys that it takes back."""
    after = {section: dict(keys) for section, keys in before.items()}
    for section, keys in change.items():
        if not isinstance(keys, Mapping):
            after.pop(section, None)
            continue
        ours = {**after.get(section, {}), **keys}
        after[section] = {key: value for key, value in ours.items() if value is not None}
    return {section: keys for section, keys in after.items() if keys}


def differences(before: Manifest, after: Manifest) -> dict[str, tuple[object, object]]:
    """The keys that a change gives another value, as ``section.key``, each with the old and the new one."""
    was, now = shown(before), shown(after)
    return {
        f"{section}.{key}": (was[section][key], value)
        for section, keys in now.items()
        for key, value in keys.items()
        if was[section][key] != value
    }


def shown(manifest: Manifest) -> dict[str, dict[str, object]]:
    """The keys that may be changed, with their values: a change of this form changes nothing."""
    return manifest.model_dump(include=set(SECTIONS))


def clashes(config: str | None, changed: Changed) -> list[str]:
    """The changed keys, as ``section.key``, that a load's overrides give a value too; none where it is no such object."""
    try:
        given = {} if config is None else json.loads(config)
    except (ValueError, RecursionError):
        return []
    if not isinstance(given, dict):
        return []
    return [
        f"{section}.{key}"
        for section, keys in changed.items()
        for key in keys
        if isinstance(its := given.get(section), dict) and key in its
    ]


def read(config: str | None) -> Changed:
    """What was changed, as the store keeps it."""
    changed: Changed = {} if config is None else json.loads(config)
    return changed


def write(changed: Changed) -> str:
    """As the store keeps it."""
    return json.dumps(changed, sort_keys=True)


def _named(section: str, keys: object) -> str:
    return ", ".join(f"{section}.{str(key)[:80]}" for key in keys) if isinstance(keys, Mapping) and keys else section


def _judged(before: Changed, change: Mapping[str, object]) -> Mapping[str, object]:
    """What would be changed, with all that is wrong in the change: a null too, where there is no such key."""
    known = Manifest().model_dump()
    tree: dict[str, object] = dict(laid(before, change))
    for section, keys in change.items():
        if isinstance(keys, Mapping):
            wrong = [key for key, value in keys.items() if value is None and key not in known.get(section, {})]
            tree[section] = {**laid(before, {section: keys}).get(section, {}), **dict.fromkeys(wrong)}
        elif keys is not None or section not in known:
            tree[section] = keys
    return tree
