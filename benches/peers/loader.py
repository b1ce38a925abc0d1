#!/usr/bin/env python3
"""What torchvision takes for the work of benches/loader.rs, on the same files.

    pip install torch torchvision pillow
    python benches/peers/loader.py FOLDER

FOLDER is a folder of class folders with JPEG files. One thread does the work, and its CPU time counts.
"""

import sys
import time

import torch
from torchvision import datasets, transforms

RECIPES = {
    "train: random resized crop, flip": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    "eval: resize 256, center crop": [transforms.Resize(256), transforms.CenterCrop(224)],
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, steps in RECIPES.items():
        # Bytes, as Kiln's loader hands them over: normalising is not the loader's.
        data = datasets.ImageFolder(sys.argv[1], transforms.Compose([*steps, transforms.PILToTensor()]))
        best = 0.0
        for epoch in range(7):
            torch.manual_seed(epoch)
            loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, num_workers=0)
            start = time.thread_time()
            for _ in loader:
                pass
            best = max(best, len(data) / (time.thread_time() - start))
        print(f"{name}: {best:.0f} images/s a core, {1e3 / best:.2f} ms an image")
