"""Training. Importing it switches off what ONNX Runtime would send to its maker, as importing the service does."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
