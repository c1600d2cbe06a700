"""What one core of a host takes to prepare a sample, for hardware_db/input: `python -m benchmarks.input`.

Tokens: windows of 8,192 in random order out of a file that is mapped into memory, as Megatron's GPTDataset reads.
Images: a JPEG of 500 x 375 and about 115 kB is decoded, cropped and resized to 224 x 224, flipped and made a float
array. Audio: a second at 16 kHz is made 80 mel bands of windows of 25 ms every 10 ms.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable

import numpy as np

_SECONDS = 2.0


def measure_s(prepare: Callable[[], object]) -> float:
    """Mean seconds of a call, over two seconds of them."""
    prepare()
    calls, start = 0, time.process_time()
    while time.process_time() - start < _SECONDS:
        prepare()
        calls += 1
    return (time.process_time() - start) / calls


def measure_tokens_s() -> float:
    """Seconds of a token."""
    length, rng = 8192, np.random.default_rng(0)
    with tempfile.NamedTemporaryFile() as file:
        np.arange(50_000_000, dtype=np.int32).tofile(file.name)
        tokens = np.memmap(file.name, dtype=np.int32, mode="r")

        def read_window() -> object:
            start = int(rng.integers(len(tokens) - length))
            return np.asarray(tokens[start : start + length]).astype(np.int64)

        return measure_s(read_window) / length


def measure_image_s() -> float:
    """Seconds of an image."""
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (94, 125, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
    encoded = io.BytesIO()
    coarse.save(encoded, "JPEG", quality=93)
    data = encoded.getvalue()
    print(f"image of {len(data):,} bytes")

    def prepare() -> object:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        resized = image.resize((224, 224), Image.BILINEAR, box=(60, 40, 440, 340))
        return np.asarray(resized.transpose(Image.FLIP_LEFT_RIGHT), dtype=np.float32) / 255

    return measure_s(prepare)


def measure_audio_s() -> float:
    """Seconds of a second of audio."""
    rng = np.random.default_rng(0)
    samples = rng.integers(-(2**15), 2**15, 16_000, dtype=np.int16)
    bands, window = rng.random((201, 80), dtype=np.float32), np.hanning(400).astype(np.float32)
    starts = np.arange(0, 16_000 - 400, 160)[:, None] + np.arange(400)

    def prepare() -> object:
        frames = samples.astype(np.float32)[starts] * window
        return np.log(np.abs(np.fft.rfft(frames)).astype(np.float32) ** 2 @ bands + 1e-6)

    return measure_s(prepare)


if __name__ == "__main__":
    print(f"tokens: {measure_tokens_s():.3g} s of a core each")
    print(f"images: {measure_image_s():.3g} s of a core each")
    print(f"audio: {measure_audio_s():.3g} s of a core a second")
