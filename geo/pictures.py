"""`python -m geo.pictures`: one photo from the standard input, as plain pixels in a JPEG of our own making to the standard output.

A process of its own behind the wall of the reading process, because a decoder is the last thing to trust with what strangers
send. Nothing of the file goes on but its pixels: no place, no name of a camera, no comment, nothing after its end. Who is to be
seen in it is nobody's question here; no face is ever looked for.
"""

import io
import json
import re
import sys
import warnings
import zlib

from PIL import Image, ImageOps, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from geo.reading.refusal import Refused
from geo.reading.wall import walled

assert JpegImagePlugin and PngImagePlugin and WebPImagePlugin

LONGEST = 1600  # pixels of the longer side that are kept: a number plate across a street is legible, a pore is not
QUALITY = 82
# Pixels that are decoded: the widest phones of the day send 50 million. A kilobyte may claim four billion.
MOST = 64_000_000
KINDS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
APPLE = re.compile(rb"^.{4}ftyp(?:heic|heix|hevc|hevx|heim|heis|mif1|msf1|avif|avis)", re.S)
# What is a photo to one program and something else to another: a script, a document, an archive. Only the pixels would go on,
# but whoever makes such a file means no photo. A phone's film behind its photo is honest, and is left out without a word.
SCRIPT = re.compile(rb"<script[\s>]|<\?php|<html[\s>]|<!doctype html", re.I)
ARCHIVE, ARCHIVE_END = b"PK\x05\x06", 65_557

UNREADABLE = "照片读不出来,可能已损坏。请重新拍一张。"


def developed(sent: bytes) -> tuple[bytes, int, int]:
    """A JPEG of at most `LONGEST` pixels a side, upright, with width and height. Raises `Refused`."""
    kind = _kind(sent)
    warnings.simplefilter("error")
    Image.MAX_IMAGE_PIXELS = MOST
    try:
        with Image.open(io.BytesIO(sent), formats=[kind]) as photo:
            if photo.width * photo.height > MOST:
                raise Refused("照片的像素太多。请用手机平常的清晰度拍,或截屏后再传。")
            if kind == "JPEG":
                # Decoded at a half or a quarter of its size where that is enough.
                photo.draft("RGB", (LONGEST, LONGEST))
            photo.load()
            upright = ImageOps.exif_transpose(photo)
            upright.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=2.0)
            # What is glass in a picture is white on paper.
            shown = Image.new("RGB", upright.size, "white")
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                seen = upright.convert("RGBA")
                shown.paste(seen, mask=seen.getchannel("A"))
            else:
                shown.paste(upright.convert("RGB"))
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise Refused("照片的像素太多。请用手机平常的清晰度拍,或截屏后再传。") from error
    except (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, Warning, zlib.error) as error:
        raise Refused(UNREADABLE) from error
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue(), shown.width, shown.height


def _kind(sent: bytes) -> str:
    if APPLE.match(sent[:16]):
        raise Refused("这是 HEIC 格式,很多电脑打不开。请在手机的相机设置里把格式改成“兼容性最佳”(JPEG),或者截屏后再传。")
    kind = next((kind for kind, magic in KINDS.items() if sent.startswith(magic)), None)
    if kind is None and sent[:4] == b"RIFF" and sent[8:12] == b"WEBP":
        kind = "WEBP"
    if kind is None:
        raise Refused("只收 JPEG、PNG、WebP 照片。")
    if b"%PDF-" in sent[:1024] or SCRIPT.search(sent) or ARCHIVE in sent[-ARCHIVE_END:]:
        raise Refused("照片里夹带了别的文件,不能收。请重新拍一张。")
    return kind


def main() -> None:
    """Develop, or tell why not: a refusal goes to the standard error as JSON, and the exit code is 3."""
    sent = sys.stdin.buffer.read()
    try:
        walled(len(sent))
        photo, width, height = developed(sent)
    except Refused as refusal:
        sys.stderr.write(json.dumps({"sentence": str(refusal), **refusal.facts}, ensure_ascii=False))
        sys.exit(3)
    sys.stdout.buffer.write(json.dumps({"width": width, "height": height}).encode() + b"\n" + photo)


if __name__ == "__main__":
    main()
