"""Frames as files: GIF always, MP4 where an encoder is installed."""

import contextlib
import io
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from gtr.errors import GTRError
from gtr.files import write_whole

# One of the 256 is left for what stays as it was.
_COLOURS = 255


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
        # What stays as it was is left out.
        optimize=True,
    )
    return buffer.getvalue()


def write_mp4(path: Path, frames: Sequence[Image.Image], rate: float) -> bool:
    """Writes an MP4 (H.264) if imageio-ffmpeg is installed; False where it is not.

    Args:
        path: of the file.
        frames: of one size, even numbers of pixels.
        rate: frames a second.

    Raises:
        GTRError: the encoder failed, or the file cannot be written.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return False
    width, height = frames[0].size
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "film.mp4"
        # Not the package's own writer: it forks in a way that JAX warns of.
        encoder = subprocess.Popen(
            [
                *(get_ffmpeg_exe(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
                *("-s", f"{width}x{height}", "-r", f"{rate:g}", "-i", "-", "-c:v", "libx264"),
                *("-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart", str(target)),
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert encoder.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it says of it comes below
            for frame in frames:
                encoder.stdin.write(frame.tobytes())
        said = encoder.communicate()[1].decode(errors="replace").strip()
        if encoder.returncode:
            raise GTRError(
                f"cannot encode {path}: {said or encoder.returncode}; the GIF is whole, and with "
                "imageio-ffmpeg uninstalled no MP4 is tried"
            )
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
