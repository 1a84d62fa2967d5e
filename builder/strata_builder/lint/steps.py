"""Checks of instructions as the build sees them: with variables expanded, on their base, triggers included."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from strata_builder import dockerfile as df
from strata_builder.dockerfile import expansion, ports, sources, words
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import steps, watching
from strata_builder.engine.watching import Seen
from strata_builder.lint import names, texts
from strata_builder.lint.findings import Findings
from strata_builder.oci.platform import Platform

_ROOTS = (".", "/")
_EVERYTHING = ("*", "**", "**/*")


class _State:
    """What is known of a stage so far. `sure` is false if its base could not be looked at."""

    def __init__(self, *, sure: bool = True, declared: Iterable[str] = (), workdir: bool = False) -> None:
        self.sure = sure
        self.declared = set(declared)
        self.workdir = workdir
        self.once: dict[type[ins.Instruction], ins.Instruction] = {}


class Checker(watching.Watch):
    """Told of each instruction by the planner. `unknown` are the images that could not be looked at."""

    def __init__(self, escape: str, warnings: Findings, ignore: df.IgnoreRules, unknown: Mapping[str, object]) -> None:
        self._escape = escape
        self._warnings = warnings
        self._ignore = ignore
        self._unknown = unknown
        self._stages: dict[int, _State] = {}

    def pulls(self, asking: ins.Instruction, base: steps.Base, wanted: Platform) -> None:
        """An image of nothing but a config is for every platform."""
        config = base.image.config
        found = config.platform
        filled = bool(config.diff_ids) or any(not step.empty_layer for step in config.history)
        other = (found.os, found.architecture) != (wanted.os, wanted.architecture)
        if filled and other and base.name not in self._unknown:
            pulled = f'was pulled with platform "{found}", expected "{wanted}" for current build'
            self._add("InvalidBaseImagePlatform", f"Base image {base.name} {pulled}", asking)

    def begins(self, stage: df.Stage, base: steps.Origin) -> None:
        state = _State()
        if isinstance(base, steps.FromStage):
            parent = self._stages[base.index]
            state = _State(sure=parent.sure, declared=parent.declared, workdir=parent.workdir)
        elif isinstance(base, steps.FromImage):
            state.sure = base.base.name not in self._unknown
        self._stages[stage.index] = state

    def sees(self, seen: Seen) -> None:
        state = self._stages[seen.stage.index]
        if isinstance(seen.written, ins.Arg):
            self._undefined(seen, state)
            state.declared |= {name for name, _ in seen.written.pairs}
        elif not isinstance(seen.written, ins.Expose):
            self._undefined(seen, state)
        check = _CHECKS.get(type(seen.written))
        if check:
            check(self, seen, state)

    def _add(self, rule: str, message: str, at: ins.Instruction) -> None:
        self._warnings.add(rule, message, at.span)

    def _undefined(self, seen: Seen, state: _State) -> None:
        if not state.sure:
            return
        for name in sorted(seen.missed - state.declared):
            near = names.suggestion(name, seen.variables)
            message = f"Usage of undefined variable '${name}'" + (f" (did you mean ${near}?)" if near else "")
            self._add("UndefinedVar", message, seen.written)

    def _arg(self, seen: Seen, _: _State) -> None:
        self._secrets("ARG", (name for name, _ in seen.written.pairs), seen)  # type: ignore[attr-defined]

    def _env(self, seen: Seen, _: _State) -> None:
        self._legacy(seen, _)
        self._secrets("ENV", (name for name, _ in seen.resolved.pairs), seen)  # type: ignore[attr-defined]

    def _secrets(self, keyword: str, given: Iterable[str], seen: Seen) -> None:
        for name in filter(names.is_secret, given):
            message = f"Do not use ARG or ENV instructions for sensitive data ({keyword} {names.quoted(name)})"
            self._add("SecretsUsedInArgOrEnv", message, seen.written)

    def _legacy(self, seen: Seen, _: _State) -> None:
        keyword, _flags, rest = words.split_command(seen.written.text)
        if "=" not in words.quoted_words(rest, self._escape)[0]:
            message = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            self._add("LegacyKeyValueFormat", message, seen.written)

    def _command(self, seen: Seen, state: _State) -> None:
        self._once(seen, state)
        assert isinstance(seen.written, ins.Command)
        if seen.written.shell and not seen.before.shell and state.sure:
            keyword = texts.written(seen.written)
            reason = "to prevent unintended behavior related to OS signals"
            self._add("JSONArgsRecommended", f"JSON arguments recommended for {keyword} {reason}", seen.written)

    def _once(self, seen: Seen, state: _State) -> None:
        earlier = state.once.get(type(seen.written))
        if earlier is not None:
            keyword = texts.written(seen.written)
            reason = "should not be used in the same stage because only the last one will be used"
            self._add("MultipleInstructionsDisallowed", f"Multiple {keyword} instructions {reason}", earlier)
        state.once[type(seen.written)] = seen.written

    def _workdir(self, seen: Seen, state: _State) -> None:
        assert isinstance(seen.resolved, ins.Workdir)
        if not state.workdir and not seen.resolved.path.startswith("/"):
            path = names.quoted(seen.resolved.path)
            message = f"Relative workdir {path} can have unexpected results if the base image changes"
            self._add("WorkdirRelativePath", message, seen.written)
        state.workdir = True

    def _expose(self, seen: Seen, _: _State) -> None:
        assert isinstance(seen.written, ins.Expose)
        for word in self._split(seen.written.ports, seen.variables):
            address, host, _numbers, protocol = ports.split(word)
            if protocol != protocol.lower():
                message = f"Defined protocol '{word}' in EXPOSE instruction should be lowercase"
                self._add("ExposeProtoCasing", message, seen.written)
            if address or host:
                message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                self._add("ExposeInvalidFormat", message, seen.written)

    def _split(self, given: Iterable[str], variables: Mapping[str, str]) -> list[str]:
        return [part for word in given for part in expansion.Word(word, variables, self._escape).split()]

    def _copy(self, seen: Seen, _: _State) -> None:
        assert isinstance(seen.resolved, ins.Copy | ins.Add)
        rules = self._ignore.rules
        if getattr(seen.resolved, "from_", None) is not None or any(rule.startswith("!") for rule in rules):
            return
        verb = "Copy" if isinstance(seen.resolved, ins.Copy) else "Add"
        for source in seen.resolved.sources:
            path = posixpath.normpath(source or ".")
            everything = path not in _ROOTS or any(rule in _EVERYTHING for rule in rules)
            if not sources.is_remote(source) and everything and self._ignores(path):
                message = f"Attempting to {verb} file {names.quoted(path)} that is excluded by .dockerignore"
                self._add("CopyIgnoredFile", message, seen.written)

    def _ignores(self, path: str) -> bool:
        return path in _ROOTS or self._ignore.excludes(path)


_CHECKS: Mapping[type[ins.Instruction], Callable[[Checker, Seen, _State], Any]] = {
    ins.Add: Checker._copy,  # noqa: SLF001
    ins.Arg: Checker._arg,  # noqa: SLF001
    ins.Cmd: Checker._command,  # noqa: SLF001
    ins.Copy: Checker._copy,  # noqa: SLF001
    ins.Entrypoint: Checker._command,  # noqa: SLF001
    ins.Env: Checker._env,  # noqa: SLF001
    ins.Expose: Checker._expose,  # noqa: SLF001
    ins.Healthcheck: Checker._once,  # noqa: SLF001
    ins.Label: Checker._legacy,  # noqa: SLF001
    ins.Workdir: Checker._workdir,  # noqa: SLF001
}
