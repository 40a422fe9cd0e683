"""Atari games from pixels: the Arcade Learning Environment, preprocessed as the field does."""

import difflib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from gtr.environments.host import Transition
from gtr.environments.protocol import Box, Discrete
from gtr.environments.simulators import Simulated
from gtr.errors import GTRError

_STACKED, _SKIP = 4, 4
# An emulator's state has from 7,713 to 8,256 bytes (the games of ale-py 0.12.1), in some games not
# always as many.
_EMULATOR_BYTES = 8_448
# Seed, frames so far, the action that was done last, and how long the emulator's state is.
_COUNTS = 4


@dataclass(frozen=True)
class Atari(Simulated):
    """Games of the Arcade Learning Environment (Bellemare et al. 2013), one in each phase.

    An action is held for 4 frames; what is seen is the larger of the last two, in grey, reduced to
    a square by averaging areas, with the three before it: uint8 (side, side, 4), newest last, blank
    before an episode's first (Mnih et al. 2015, doi:10.1038/nature14236). The frames are those of
    ale-py's `AtariVectorEnv`. The reward that is learnt from is the score's sign; the episode's
    return is the score. An episode ends with the game, not with a life (Machado et al. 2018,
    arXiv:1709.06009).

    Actions are those that have an effect in any of the games, ALE's minimal sets together: the
    same in every phase, so they do not tell which game is on.

    Attributes:
        games: ALE's names, as in "space_invaders"; phase p is game p modulo their number.
        sticky: probability that a frame repeats the action before instead of taking the new one;
            0.25 in Machado et al. (2018) and in Gymnasium's v5 games, 0 in the v4 games.
        idle: at most so many frames pass before the agent's first action; how many is drawn from
            the episode's seed.
        longest: frames after which an episode is truncated, half an hour of play; without the idle
            ones.
        side: height and width of what is seen, in pixels; 84 in all published work. Less makes a
            network faster, by the square.
        processes: how many processes the copies are dealt to; 0 keeps them in this one.

    Raises:
        GTRError: ale-py or OpenCV is not installed, there is no such game, or a number cannot be.
    """

    games: tuple[str, ...]
    sticky: float = 0.25
    idle: int = 30
    longest: int = 108_000
    side: int = 84
    processes: int = 0
    name: str = field(init=False, compare=False, repr=False)
    observation_shape: tuple[int, ...] = field(init=False, compare=False, repr=False)
    action_space: Discrete | Box = field(init=False, compare=False, repr=False)
    observation_dtype: np.dtype = field(init=False, compare=False, repr=False)
    saved_bytes: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.games:
            raise GTRError("Atari needs at least one game, as in Atari(('breakout',)).")
        if not 0 <= self.sticky <= 1:
            raise GTRError(f"sticky is {self.sticky!r}; give a probability")
        if self.idle < 0 or self.longest < 1:
            raise GTRError("idle is to be 0 or more frames, and longest 1 or more")
        if self.side < 1:
            raise GTRError(f"side is {self.side!r}; give 1 or more pixels")
        shape = (self.side, self.side, _STACKED)
        for name, value in {
            "name": f"Atari {', '.join(self.games)}",
            "observation_shape": shape,
            "action_space": Discrete(len(_actions(self.games))),
            "observation_dtype": np.dtype(np.uint8),
            "saved_bytes": 8 * _COUNTS + int(np.prod(shape)) + _EMULATOR_BYTES,
        }.items():
            object.__setattr__(self, name, value)

    def world(self, seed: int, phase: int) -> str:
        """The game of the phase; nothing is drawn."""
        del seed
        return self.games[phase % len(self.games)]

    def start(self) -> "AtariCopy":
        """One copy."""
        return AtariCopy(self)


class AtariCopy:
    """One emulator, with the frames that were seen last.

    Args:
        atari: what it is a copy of.
    """

    def __init__(self, atari: Atari) -> None:
        ale_py, self._cv2 = _packages()
        self._atari, self._ale_py = atari, ale_py
        self._actions = _actions(atari.games)
        self._game = ""
        self._ale: Any = ale_py.ALEInterface()
        # The emulator's own way of repeating actions draws from a generator that can only be seeded
        # by loading the game, which takes longer than many an episode.
        self._ale.setFloat("repeat_action_probability", 0.0)
        self._ale.setInt("random_seed", 0)
        self._start: Any = None
        self._opening: Any = None
        self._seed = self._frame = self._done = 0
        self._repeats: Any = None
        self._screen: Any = None
        self._before: Any = None
        self._square = (atari.side, atari.side)
        self._small: Any = np.zeros(self._square, np.uint8)
        # The frames of a pixel in one word, oldest in the low byte: a shift makes room for another.
        self._stack: Any = np.zeros(self._square, "<u4")

    def restart(self, seed: int, world: str) -> np.ndarray:
        """See `Copy.restart`."""
        self._load(world)
        self._ale.restoreState(self._start)
        rng = self._draw(seed)
        kinds = self._ale_py.Action
        opening = [kinds.NOOP] * rng.integers(self._atari.idle, endpoint=True)
        if kinds.FIRE in self._ale.getMinimalActionSet():
            # Many games do not begin before.
            opening.append(kinds.FIRE)
        for action in opening:
            self._ale.act(action)
        # A state that is restored does not bring its screen: that is drawn by the next frame.
        np.copyto(self._screen, self._opening)
        if opening:
            self._ale.getScreenGrayscale(self._screen)
        self._frame = self._done = 0
        self._stack = np.zeros_like(self._stack)
        return self._see()

    def step(self, action: np.ndarray) -> Transition:
        """See `Copy.step`."""
        score = 0
        over = late = False
        for held in range(_SKIP):
            if not self._repeats[self._frame]:
                self._done = int(action)
            score += self._ale.act(self._actions[self._done])
            self._frame += 1
            over, late = self._ale.game_over(), self._frame >= self._atari.longest
            if over or late:
                break
            if held == _SKIP - 2:
                self._ale.getScreenGrayscale(self._before)
        self._ale.getScreenGrayscale(self._screen)
        if self._frame % _SKIP == 0:
            # Some sprites are drawn in every other frame alone.
            np.maximum(self._screen, self._before, out=self._screen)
        return Transition(self._see(), float(np.sign(score)), over, late and not over, float(score))

    def save(self) -> UInt8[np.ndarray, " n"]:
        """See `Copy.save`."""
        state = np.frombuffer(self._ale.cloneState().serialize(), np.uint8)
        saved: Any = np.zeros(self._atari.saved_bytes, np.uint8)
        counts, stack, emulator = _parts(saved, self._square)
        counts[:] = self._seed, self._frame, self._done, len(state)
        stack[:] = self._stack
        emulator[: len(state)] = state
        return saved

    def restore(self, saved: UInt8[np.ndarray, " n"], world: str) -> None:
        """See `Copy.restore`."""
        counts, stack, emulator = _parts(np.array(saved), self._square)
        seed, self._frame, self._done, length = map(int, counts)
        self._load(world)
        self._ale.restoreState(self._ale_py.ALEState(emulator[:length].tobytes()))
        self._draw(seed)
        self._stack = stack

    def render(self) -> UInt8[np.ndarray, "210 160 3"]:
        """The emulator's screen in colour, for people to look at."""
        return self._ale.getScreenRGB()

    def close(self) -> None:
        """See `Copy.close`."""

    def _load(self, game: str) -> None:
        """Has the emulator play a game; 80 ms where it is another."""
        if game != self._game:
            self._ale.loadROM(_rom(game))
            self._ale.reset_game()
            self._game, self._start = game, self._ale.cloneState()
            self._opening = self._ale.getScreenGrayscale()
            self._screen, self._before = np.zeros((2, *self._opening.shape), np.uint8)

    def _draw(self, seed: int) -> np.random.Generator:
        """Draws which frames of an episode repeat the action before; the rest is its opening's."""
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._repeats = rng.random(self._atari.longest, np.float32) < self._atari.sticky
        return rng

    def _see(self) -> UInt8[np.ndarray, "s s 4"]:
        """What is seen now that the screen is another: it is taken into the frames."""
        self._cv2.resize(
            self._screen, self._square, self._small, interpolation=self._cv2.INTER_AREA
        )
        self._stack = (self._stack >> 8) | (self._small.astype("<u4") << 24)
        return self._stack.view(np.uint8).reshape(*self._square, _STACKED)


def _parts(saved: Any, square: tuple[int, int]) -> tuple[Any, Any, Any]:
    """What a state's bytes hold, as views of them: counts, stack, emulator."""
    frames = _STACKED * square[0] * square[1]
    counts, stack, emulator = np.split(saved, [8 * _COUNTS, 8 * _COUNTS + frames])
    return counts.view("<i8"), stack.view("<u4").reshape(square), emulator


def _packages() -> tuple[Any, Any]:
    """ale_py and cv2."""
    try:
        import ale_py
        import cv2
    except ImportError:
        raise GTRError(
            "Atari needs ale-py and OpenCV, which are not installed: pip install 'gtr-rl[atari]'"
        ) from None
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py, cv2


def _rom(game: str) -> Path:
    """Where a game is; the emulator ends the process on what it does not play."""
    ale_py, _ = _packages()
    known = ale_py.roms.get_all_rom_ids()
    path = ale_py.roms.get_rom_path(game) if game in known else None
    if path is None or ale_py.ALEInterface.isSupportedROM(path) is None:
        close = difflib.get_close_matches(game, [other for other in known if other != game], 3)
        raise GTRError(
            f"ALE has no game {game!r}" + (f"; close to it: {', '.join(close)}" if close else "")
        )
    return path


@cache
def _actions(games: tuple[str, ...]) -> tuple[Any, ...]:
    """The minimal action sets of games together, in ALE's order."""
    ale = _packages()[0].ALEInterface()
    found = set()
    for game in games:
        ale.loadROM(_rom(game))
        found.update(ale.getMinimalActionSet())
    return tuple(sorted(found, key=lambda action: action.value))
