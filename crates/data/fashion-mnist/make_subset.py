#!/usr/bin/env python3
"""Draws the embedded subset of Fashion-MNIST from the full set.

    python3 make_subset.py DIR [--out FOLDER]

DIR holds the four files of the full set (train-images-idx3-ubyte.gz and so on; the Debian package dataset-fashion-mnist
puts them in /usr/share/datasets/fashion-mnist, https://github.com/zalandoresearch/fashion-mnist has them too). The four
files of the subset are written to FOLDER, by default the folder of this script.

Which images: of each class the 1,000 training and the 200 test images whose SHA-256 of "SEED/SPLIT/INDEX" is smallest,
in the order of the full set. A hash and not Python's `random`, whose algorithms may change between versions. The gzip
header is written here, with time 0, so that the bytes depend on nothing but zlib; the SHA-256 of what is inside is
compared with the one recorded below. Only the standard library is used.
"""

import argparse
import gzip
import hashlib
import pathlib
import struct
import sys
import zlib

SEED = "kiln"
CLASSES = 10
SIDE = 28
PER_CLASS = {"train": 1000, "t10k": 200}

# SHA-256 of the uncompressed files.
SHA256 = {
    "train-images-idx3-ubyte": "8993155bb1e938ee6e1aa550c60c2de1fda70649632742afb63674359932d8cb",
    "train-labels-idx1-ubyte": "f067d4bdbb459a5d70de0b5315648359c44d40360ab2557f63ecb9105c106324",
    "t10k-images-idx3-ubyte": "71a0a2dc2299bf23c759398b5a6f5f16524e8fa2b4b2890fdd5e2f3f931d7298",
    "t10k-labels-idx1-ubyte": "5fdd6b47c4a98fb0c5a4a5939d93707b9b69dda4b4f3d5d2d2b207a0ff4b4fc6",
}


def read(folder, name):
    """The uncompressed bytes of an IDX file, gzipped or plain."""
    plain = folder / name
    return plain.read_bytes() if plain.exists() else gzip.decompress((folder / (name + ".gz")).read_bytes())


def read_images(folder, split):
    data = read(folder, f"{split}-images-idx3-ubyte")
    magic, count, rows, columns = struct.unpack(">4I", data[:16])
    if (magic, rows, columns) != (0x0803, SIDE, SIDE) or len(data) != 16 + count * SIDE * SIDE:
        sys.exit(f"{folder}: {split}-images-idx3-ubyte is not a whole IDX file of {SIDE}x{SIDE} images")
    return [data[16 + i * SIDE * SIDE : 16 + (i + 1) * SIDE * SIDE] for i in range(count)]


def read_labels(folder, split):
    data = read(folder, f"{split}-labels-idx1-ubyte")
    magic, count = struct.unpack(">2I", data[:8])
    if magic != 0x0801 or len(data) != 8 + count:
        sys.exit(f"{folder}: {split}-labels-idx1-ubyte is not a whole IDX file of labels")
    return data[8:]


def choose(labels, split):
    """The indices of the subset: PER_CLASS of each class, ascending."""
    chosen = []
    for label in range(CLASSES):
        of_class = [i for i, given in enumerate(labels) if given == label]
        of_class.sort(key=lambda i: hashlib.sha256(f"{SEED}/{split}/{i}".encode()).digest())
        if len(of_class) < PER_CLASS[split]:
            sys.exit(f"class {label} of {split} has {len(of_class)} images, {PER_CLASS[split]} are needed: pass the full set")
        chosen += of_class[: PER_CLASS[split]]
    return sorted(chosen)


def compress(data):
    """gzip -9 without name and time. The header's last bytes: best compression (2), written on Unix (3)."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    body = deflate.compress(data) + deflate.flush()
    header = b"\x1f\x8b\x08\x00" + struct.pack("<I", 0) + b"\x02\x03"
    return header + body + struct.pack("<2I", zlib.crc32(data), len(data))


def main():
    parser = argparse.ArgumentParser(description="Draws the embedded subset of Fashion-MNIST from the full set.")
    parser.add_argument("dir", type=pathlib.Path, help="folder with the four files of the full set")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()

    differs = False
    for split in PER_CLASS:
        images = read_images(arguments.dir, split)
        labels = read_labels(arguments.dir, split)
        if len(images) != len(labels):
            sys.exit(f"{arguments.dir}: {len(images)} images and {len(labels)} labels in {split}")
        chosen = choose(labels, split)
        files = {
            f"{split}-images-idx3-ubyte": struct.pack(">4I", 0x0803, len(chosen), SIDE, SIDE)
            + b"".join(images[i] for i in chosen),
            f"{split}-labels-idx1-ubyte": struct.pack(">2I", 0x0801, len(chosen)) + bytes(labels[i] for i in chosen),
        }
        for name, data in files.items():
            packed = compress(data)
            (arguments.out / f"{name}.gz").write_bytes(packed)
            digest = hashlib.sha256(data).hexdigest()
            differs |= digest != SHA256[name]
            print(f"{name}.gz: {len(chosen)} items, {len(packed)} bytes, contents' SHA-256 {digest}")
    if differs:
        sys.exit("the contents are not those of the committed subset: is DIR the full, unchanged set?")


if __name__ == "__main__":
    main()
