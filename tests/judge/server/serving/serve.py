"""`transformers serve` for the embedded judge: run as a program of its own by the fixture `server`."""

import sys

import torch
import transformers
from transformers.cli.serve import Serve
from transformers.cli.serving import utils as serving_utils

from arr_rpo.judge.local.qwen_processors import Qwen3VLProcessor

if __name__ == "__main__":
    folder, port = sys.argv[1:]
    torch.set_num_threads(1)
    # transformers' own AutoProcessor builds a video processor, which needs torchvision. Ours does not.
    transformers.AutoProcessor.from_pretrained = Qwen3VLProcessor.from_pretrained
    # Its table of how Qwen models mark their turns does not fit the embedded judge's, and would put the prompt into replies.
    serving_utils._RESPONSE_TEMPLATE_FALLBACKS.clear()
    Serve(folder, device="cpu", dtype="float32", host="127.0.0.1", port=int(port))
