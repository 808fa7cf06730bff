"""A scorer behind HTTP, for `reward=http`: put your model where `score` is. `python examples/score_server.py 8765`"""

from __future__ import annotations

import base64
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image, ImageStat


def score(prompt: str, image: Image.Image) -> float | None:
    """The higher, the better; None where there is nothing to say. This one likes bright pictures."""
    return ImageStat.Stat(image.convert("L")).mean[0] / 255


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        images = [Image.open(io.BytesIO(base64.b64decode(image))) for image in asked["images"]]
        scores = [score(prompt, image) for prompt, image in zip(asked["prompts"], images, strict=True)]
        body = json.dumps({"scores": scores}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """No line a request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
