"""The service. Importing it switches off what ONNX Runtime would send to its maker: its builds for Linux do so unless told."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when the library is loaded: before anything imports it
