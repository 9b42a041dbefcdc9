"""Everything wrong with a world that can be seen without running it: what `palaver check` tells.

Errors are what cannot be meant; warnings are what works but will disappoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from palaver.cache.check import rule_problems
from palaver.chain.backend import BackendSettings, BackendType
from palaver.config.load import parse_backend
from palaver.config.models import Settings, default_tiers
from palaver.config.toml_lines import TomlLines
from palaver.errors import ConfigError, ManifestError
from palaver.hints import did_you_mean, listed, nearest
from palaver.prompt.analysis import undeclared
from palaver.prompt.template import BlockTemplate
from palaver.turn.tags import tag_problems
from palaver.world.conditions import Condition
from palaver.world.lines import INTENTS
from palaver.world.manifest import check_weights
from palaver.world.persona import Persona
from palaver.world.policy import Policy, check_policy
from palaver.world.stable import unstable_blocks
from palaver.world.watch import PARTS
from palaver.world.world import World

__all__ = ["Problem", "check_world"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.

    Attributes:
        file: The file.
        line: Line in it, from 1, or None where the whole file is meant.
        severity: `error` or `warning`.
        message: What is wrong and what to write instead.
    """

    file: Path
    line: int | None
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.message}"


def check_world(
    world: World, settings: Settings, backend_types: Mapping[str, BackendType]
) -> list[Problem]:
    """Find everything wrong with a world.

    Reads adapters' weights where a manifest has a hash; call it in a thread.

    Args:
        world: The world, as it was loaded.
        settings: Its settings, restricted or not.
        backend_types: The backend types there are, by name.

    Returns:
        The problems, by file and line, errors and warnings mixed.
    """
    check = _Check(world, settings, backend_types)
    check.run()
    unique = dict.fromkeys(check.problems)
    return sorted(unique, key=lambda problem: (str(problem.file), problem.line or 0))


class _Check:
    def __init__(
        self, world: World, settings: Settings, backend_types: Mapping[str, BackendType]
    ) -> None:
        self.world, self.settings, self.types = world, settings, backend_types
        self.toml = world.folder / "palaver.toml"
        self.problems: list[Problem] = []
        self.backends: dict[str, BackendSettings] = {}

    def run(self) -> None:
        for problem in self.world.problems:
            self._error(problem.file or self.world.folder, problem.line, problem.problem)
        self._check_backends()
        self._check_tiers()
        self._check_policy()
        for persona in self.world.personas.values():
            for part in _PERSONA_CHECKS:
                part(self, persona)
        self._check_lines()
        self._check_adapters()
        self._check_strays()

    def _error(self, file: Path | str, line: int | None, message: str) -> None:
        self.problems.append(Problem(Path(file), line, "error", message))

    def _warn(self, file: Path | str, line: int | None, message: str) -> None:
        self.problems.append(Problem(Path(file), line, "warning", message))

    def _file(self, persona: Persona) -> Path:
        return self.world.folder / persona.file

    # palaver.toml

    def _check_backends(self) -> None:
        for name, table in self.settings.backends.items():
            wanted = table.get("type")
            kind = self.types.get(str(wanted))
            if kind is None:
                missing = f"no plugin brings {wanted!r}" if wanted else "is needed here; add it"
                hint = did_you_mean(str(wanted), self.types)
                message = f"backends.{name}.type: {missing}{hint}"
                self._error(self.toml, None, message)
                continue
            try:
                self.backends[name] = parse_backend(name, table, kind, file=self.toml)
            except ConfigError as err:
                for one in (err, *err.others):
                    self._error(one.file or self.toml, one.line, f"{one.key}: {one.problem}")
        for kind in self.types.values():
            own = {key: one for key, one in self.backends.items() if one.type == kind.name}
            for problem in kind.problems(own):
                self._warn(self.toml, None, problem)

    def _names(self) -> set[str]:
        """Return the backends there are: the instant ones need no configuration."""
        instant = {kind.name for kind in self.types.values() if kind.instant}
        return set(self.settings.backends) | instant

    def _check_tiers(self) -> None:
        tiers = self.settings.tiers
        shipped = {name for tier in default_tiers().values() for name in tier["chain"]}
        names = self._names()
        for tier, policy in tiers.items():
            for name in policy.chain:
                if name not in names | shipped:
                    hint = did_you_mean(name, names)
                    message = f"tiers.{tier}.chain: {name!r} is not configured and skipped{hint}"
                    self._warn(self.toml, None, message)

    def _check_policy(self) -> None:
        text = self.toml.read_text("utf-8", "replace") if self.toml.is_file() else ""
        lines, today = TomlLines(text), datetime.now(UTC).date()
        for found in check_policy(Policy(self.settings, self.types, self.backends, today)):
            line = lines.find(found.key)
            self.problems.append(Problem(self.toml, line, found.severity, found.message))
        for key, message in rule_problems(self.settings, self.world):
            self._warn(self.toml, lines.find(key), message)

    # personas

    def _check_tier(self, persona: Persona) -> None:
        tier = persona.front.tier or self.settings.default_tier
        policy = self.settings.tiers.get(tier)
        if policy is None:
            if persona.front.tier is not None:
                hint = did_you_mean(tier, self.settings.tiers)
                self._error(self._file(persona), None, f"`tier`: no tier {tier!r}{hint}")
            return
        if not any(name in self._names() for name in policy.chain):
            self._error(
                self._file(persona),
                None,
                f"no backend of tier {tier!r} is configured ({', '.join(policy.chain)}), so it "
                "only has its last words; configure one, or install palaver-static",
            )

    def _check_template(self, persona: Persona) -> None:
        if isinstance(persona.template, BlockTemplate):
            for found in persona.template.findings(persona.declared, inside=self.world.folder):
                self.problems.append(Problem(found.file, found.line, found.severity, found.message))

    def _check_stable(self, persona: Persona) -> None:
        for file, line, message in unstable_blocks(persona, self.world):
            self._warn(file, line, message)

    def _check_persona_lines(self, persona: Persona) -> None:
        name = persona.front.lines or persona.id
        lines = self.world.lines.get(name)
        file = self.world.folder / "lines" / f"{name}.csv"
        if lines is None:
            if file.exists():
                return  # broken, and reported
            message = f"has no authored lines for when no model answers; write {_rel(file, self)}"
            if persona.front.lines is not None:
                hint = did_you_mean(name, self.world.lines)
                self._error(self._file(persona), None, f"`lines`: there is no {name!r}{hint}")
            else:
                self._warn(self._file(persona), None, message)
            return
        covered = {line.intent for line in lines if line.when is None and not line.mood}
        if "any" not in covered and (lacking := [i for i in INTENTS if i not in covered]):
            self._warn(
                file,
                None,
                f"no line that always fits for {listed(lacking)}, and none for `any`; add some, or "
                f"{persona.id} says its last words there",
            )
        tier = persona.front.tier or self.settings.default_tier
        policy = self.settings.tiers.get(tier)
        if policy and policy.filler_ms and not any(one.intent == "filler" for one in lines):
            self._warn(
                file,
                None,
                f"no line with the intent `filler`, which the tier {tier!r} speaks after "
                f'{policy.filler_ms:,.0f} ms; add some, such as "Hm. Let me think."',
            )
        lang = persona.front.lang.split("-")[0].lower()
        if not any(line.lang.split("-")[0].lower() == lang for line in lines):
            self._warn(file, None, f"no line in the language of {persona.id}, {lang!r}")
        for line in lines:
            if "{{" in line.text or "{%" in line.text:
                message = "lines are no templates: players would see the braces; write plain text"
                self._warn(file, line.number, message)
            for problem in tag_problems(line.text, persona.front.emotions):
                self._error(file, line.number, problem)
            if isinstance(line.when, Condition):
                for found in undeclared(line.when.references, persona.declared, file):
                    message = f"{found.message} (of {persona.file})"
                    self._error(file, found.line, message)

    def _check_adapter(self, persona: Persona) -> None:
        wanted = persona.front.adapter
        if wanted is None:
            return
        manifest = self.world.adapters.get(wanted)
        if manifest is None:
            if not (self.world.folder / "adapters" / f"{wanted}.toml").exists():
                problem = f"`adapter`: there is no manifest adapters/{wanted}.toml"
                near = nearest(wanted, self.world.adapters)
                if near is not None:
                    self._error(self._file(persona), None, f"{problem}; did you mean `{near}`?")
                else:
                    # A world can be written before its adapters are trained.
                    self._warn(self._file(persona), None, f"{problem}; the base model is used")
            return
        tier = self.settings.tiers.get(persona.front.tier or self.settings.default_tier)
        for name in tier.chain if tier else ():
            model = _base_model(self.backends.get(name))
            if model is not None and model != manifest.base:
                self._error(
                    self._file(persona),
                    None,
                    f"`adapter`: {wanted!r} was made for the model {manifest.base!r}, but the "
                    f"backend {name!r} serves {model!r}; use one of the same model",
                )

    # the rest

    def _check_lines(self) -> None:
        used = {persona.front.lines or persona.id for persona in self.world.personas.values()}
        for name in self.world.lines:
            if name not in used and name not in self._broken_personas():
                file = self.world.folder / "lines" / f"{name}.csv"
                self._warn(file, None, f"no persona uses these lines{did_you_mean(name, used)}")

    def _broken_personas(self) -> set[str]:
        return {Path(problem.file).stem for problem in self.world.problems if problem.file}

    def _check_adapters(self) -> None:
        for name, manifest in self.world.adapters.items():
            file = self.world.folder / "adapters" / f"{name}.toml"
            try:
                check_weights(manifest, file)
            except ManifestError as err:
                self._error(file, err.line, err.problem)
            except OSError as err:
                self._error(file, None, f"the weights cannot be read: {err.strerror}")

    def _check_strays(self) -> None:
        for file in _strays(self.world.folder):
            ending = PARTS[file.parent.name]
            self._warn(file, None, f"is not read; files in {file.parent.name} end in {ending}")


def _rel(file: Path, check: _Check) -> str:
    return file.relative_to(check.world.folder).as_posix()


def _base_model(settings: Any) -> str | None:
    """Return the base model of a backend that uses adapters, or None.

    A type that does has the settings `model` and `adapters`.
    """
    if settings is None or getattr(settings, "adapters", "off") == "off":
        return None
    model = getattr(settings, "model", None)
    return model if isinstance(model, str) else None


def _strays(folder: Path) -> Iterator[Path]:
    for part, ending in PARTS.items():
        if part == "adapters":
            continue  # weights lie there, too
        try:
            files: Iterable[Path] = sorted((folder / part).iterdir())
        except OSError:
            continue
        for file in files:
            if file.is_file() and file.suffix != ending and not file.name.startswith((".", "#")):
                yield file


_PERSONA_CHECKS: tuple[Callable[[_Check, Persona], None], ...] = (
    _Check._check_tier,
    _Check._check_template,
    _Check._check_stable,
    _Check._check_persona_lines,
    _Check._check_adapter,
)
