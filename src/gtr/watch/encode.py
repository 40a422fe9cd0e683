"""Frames as files: GIF always, MP4 where an encoder is installed."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gtr.files import write_whole

_COLOURS = 128


def as_gif(frames: Sequence[Image.Image], milliseconds: int) -> bytes:
    """An endless GIF, one palette for all frames.

    Args:
        frames: of one size, no two in a row the same (they would become one).
        milliseconds: that each is shown; GIF counts in tens of them.
    """
    palette = _palette(frames)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    drawn[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=drawn[1:],
        duration=milliseconds,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def write_mp4(path: Path, frames: Sequence[Image.Image], rate: float) -> bool:
    """Writes an MP4 (H.264) if imageio-ffmpeg is installed; False where it is not.

    Args:
        path: of the file.
        frames: of one size, even numbers of pixels.
        rate: frames a second.

    Raises:
        GTRError: the file cannot be written.
    """
    try:
        import imageio_ffmpeg
    except ImportError:
        return False
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "film.mp4"
        writer: Any = imageio_ffmpeg.write_frames(
            str(target), frames[0].size, fps=rate, macro_block_size=2, quality=7
        )
        writer.send(None)
        for frame in frames:
            writer.send(frame.tobytes())
        writer.close()
        write_whole(path, target.read_bytes())
    return True


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """The colours of some frames spread over the film, as an image with that palette."""
    some = frames[:: max(1, len(frames) // 8)]
    width, height = some[0].size
    strip = Image.new("RGB", (width, height * len(some)))
    for place, frame in enumerate(some):
        strip.paste(frame, (0, place * height))
    return strip.quantize(_COLOURS, Image.Quantize.MEDIANCUT)
