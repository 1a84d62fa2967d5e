"""The config of an image: what a container of it runs, and how its layers came to be (image-spec, config.md). Pure.

The parsed document is kept whole, so fields that this program does not know survive a change. Nothing mutable is ever
handed out, so that a config and one changed from it can share what they have in common: a Dockerfile of many instructions
makes as many configs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from strata_builder.frozen import frozen
from strata_builder.oci import digest, errors, fields, platform, strictjson

MAX_CONFIG: Final = 8 << 20  # bytes


@frozen
class History:
    """One step; `empty_layer` if it made none. `created` as RFC 3339."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, Any]:
        values = {
            "created": self.created,
            "created_by": self.created_by,
            "comment": self.comment,
            "author": self.author,
            "empty_layer": self.empty_layer,
        }
        return {key: strictjson.writable(value) for key, value in values.items() if value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], path: str) -> History:
        empty = data.get("empty_layer") or False
        if not isinstance(empty, bool):
            raise errors.ImageInvalid(f"{path}: empty_layer must be a boolean")
        created, created_by, comment, author = (
            fields.text(data, key, path) for key in ("created", "created_by", "comment", "author")
        )
        return cls(created, created_by, comment, author, empty)


#: attribute of `with_` -> key below "config", and whether an empty value is kept (`CMD []` differs from no CMD).
_RUNTIME: Final = {
    "env": ("Env", False),
    "cmd": ("Cmd", True),
    "entrypoint": ("Entrypoint", True),
    "user": ("User", False),
    "workdir": ("WorkingDir", False),
    "labels": ("Labels", False),
    "exposed_ports": ("ExposedPorts", False),
    "volumes": ("Volumes", False),
    "onbuild": ("OnBuild", False),
    "shell": ("Shell", False),
    "stop_signal": ("StopSignal", False),
    "healthcheck": ("Healthcheck", False),
}
_SETS: Final = frozenset({"exposed_ports", "volumes"})  # objects whose values are empty objects
_TOP: Final = frozenset({"os", "architecture", "variant", "created", "author"})


class ImageConfig:
    """An immutable config. Equal if their canonical bytes are."""

    __slots__ = ("_data", "_name")

    def __init__(self, data: Mapping[str, Any], *, name: str = "image config") -> None:
        """A copy of `data` is taken and its types are checked. Raises ImageInvalid naming `name`."""
        self._data: dict[str, Any] = copy.deepcopy(dict(data))
        self._name = name
        self._check()

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "image config") -> ImageConfig:
        return cls(strictjson.loads(data, limit=MAX_CONFIG, what=name), name=name)

    @classmethod
    def scratch(cls, wanted: platform.Platform, *, created: str = "") -> ImageConfig:
        """The config of an image with nothing in it."""
        return cls({"rootfs": {"type": "layers", "diff_ids": []}}).with_(
            os=wanted.os, architecture=wanted.architecture, variant=wanted.variant, created=created
        )

    def to_bytes(self) -> bytes:
        return strictjson.dumps(self._data)

    def data(self) -> dict[str, Any]:
        """The whole document, a copy."""
        return copy.deepcopy(self._data)

    @property
    def env(self) -> tuple[str, ...]:
        """`NAME=value` in order."""
        return fields.texts(self._runtime, "Env", self._name)

    @property
    def cmd(self) -> tuple[str, ...] | None:
        return self._words("Cmd")

    @property
    def entrypoint(self) -> tuple[str, ...] | None:
        return self._words("Entrypoint")

    @property
    def shell(self) -> tuple[str, ...] | None:
        return self._words("Shell")

    @property
    def user(self) -> str:
        return fields.text(self._runtime, "User", self._name)

    @property
    def workdir(self) -> str:
        return fields.text(self._runtime, "WorkingDir", self._name)

    @property
    def stop_signal(self) -> str:
        return fields.text(self._runtime, "StopSignal", self._name)

    @property
    def labels(self) -> dict[str, str]:
        return dict(fields.pairs(self._runtime, "Labels", self._name))

    @property
    def exposed_ports(self) -> tuple[str, ...]:
        return tuple(sorted(fields.mapping(self._runtime, "ExposedPorts", self._name)))

    @property
    def volumes(self) -> tuple[str, ...]:
        return tuple(sorted(fields.mapping(self._runtime, "Volumes", self._name)))

    @property
    def onbuild(self) -> tuple[str, ...]:
        return fields.texts(self._runtime, "OnBuild", self._name)

    @property
    def healthcheck(self) -> dict[str, Any] | None:
        """`{"Test": [...], "Interval": nanoseconds, ...}` as stored, a copy."""
        found = fields.mapping(self._runtime, "Healthcheck", self._name)
        return copy.deepcopy(found) or None

    @property
    def history(self) -> tuple[History, ...]:
        found = fields.objects(self._data, "history", self._name)
        return tuple(History.from_json(item, f"{self._name}: history[{n}]") for n, item in enumerate(found))

    @property
    def diff_ids(self) -> tuple[digest.Digest, ...]:
        found = fields.items(fields.mapping(self._data, "rootfs", self._name), "diff_ids", self._name)
        return tuple(
            digest.parse_digest(item, what=f"{self._name}: rootfs.diff_ids[{n}]") for n, item in enumerate(found)
        )

    @property
    def created(self) -> str:
        return fields.text(self._data, "created", self._name)

    @property
    def author(self) -> str:
        return fields.text(self._data, "author", self._name)

    @property
    def platform(self) -> platform.Platform:
        return platform.normalise(self.os, self.architecture, self.variant)

    @property
    def os(self) -> str:
        return fields.text(self._data, "os", self._name)

    @property
    def architecture(self) -> str:
        return fields.text(self._data, "architecture", self._name)

    @property
    def variant(self) -> str:
        return fields.text(self._data, "variant", self._name)

    def with_(self, **changes: Any) -> ImageConfig:
        """A config with these fields set: env cmd entrypoint user workdir labels exposed_ports volumes onbuild shell
        stop_signal healthcheck os architecture variant created author history diff_ids. None removes a field; so does
        an empty value, save for cmd and entrypoint. Bytes that are no UTF-8 become U+FFFD, for JSON has no others."""
        data = dict(self._data)
        runtime = dict(data.get("config") or {})
        for name, value in changes.items():
            if name in _RUNTIME:
                key, keep_empty = _RUNTIME[name]
                _put(runtime, key, _plain(name, value), keep_empty)
            elif name in _TOP:
                _put(data, name, value, False)
            elif name == "history":
                data["history"] = [_history_json(item) for item in value]
            elif name == "diff_ids":
                data["rootfs"] = (data.get("rootfs") or {}) | {"type": "layers", "diff_ids": list(value)}
            else:
                raise TypeError(f"an image config has no field {name!r}")
        if runtime:
            data["config"] = runtime
        else:
            data.pop("config", None)
        return self._sharing(data, changes)

    def append_history(self, entry: History, diff_id: digest.Digest | None = None) -> ImageConfig:
        """One more step, with its layer's diffID if it made one."""
        data = dict(self._data)
        data["history"] = [*(data.get("history") or []), entry.to_json()]
        rootfs = data.get("rootfs") or {}
        before = fields.items(rootfs, "diff_ids", self._name)
        data["rootfs"] = rootfs | {"type": "layers", "diff_ids": [*before, *([diff_id] if diff_id else [])]}
        return self._sharing(data, ())

    @classmethod
    def _of(cls, data: dict[str, Any], name: str) -> ImageConfig:
        """Of parts that were checked, and that nobody changes."""
        self = cls.__new__(cls)
        self._data, self._name = data, name
        return self

    def _sharing(self, data: dict[str, Any], changed: Iterable[str]) -> ImageConfig:
        """A config of `data`, whose parts are this one's but for the fields `changed`. Raises ImageInvalid for those."""
        made = self._of(data, self._name)
        for name in changed:
            getattr(made, name)
        return made

    @property
    def _runtime(self) -> dict[str, Any]:
        return fields.mapping(self._data, "config", self._name)

    def _words(self, key: str) -> tuple[str, ...] | None:
        """None and absent mean the same; an empty list is a list."""
        return None if self._runtime.get(key) is None else fields.texts(self._runtime, key, self._name)

    def _check(self) -> None:
        rootfs = fields.mapping(self._data, "rootfs", self._name)
        if rootfs.get("type", "layers") != "layers":
            raise errors.ImageInvalid(f"{self._name}: rootfs.type must be 'layers', not {rootfs['type']!r:.40}")
        for name in (*_RUNTIME, *_TOP, "history", "diff_ids"):
            getattr(self, name)
        strictjson.dumps(self._data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageConfig) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return f"ImageConfig({self.platform}, {len(self.diff_ids)} layers, {digest.of(self.to_bytes())})"


def _plain(name: str, value: Any) -> Any:
    if name in _SETS and value is not None:
        return {item: {} for item in value}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _put(target: dict[str, Any], key: str, value: Any, keep_empty: bool) -> None:
    if value is None or (not value and not keep_empty):
        target.pop(key, None)
    else:
        target[key] = strictjson.writable(value)


def _history_json(item: History | Mapping[str, Any]) -> dict[str, Any]:
    """Of a step as another builder wrote it, all that says something."""
    if isinstance(item, History):
        return item.to_json()
    return {key: value for key, value in item.items() if value is not None}
