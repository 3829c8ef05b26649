"""From a plan to a measured model: build, train, export, measure. Knows neither Celery nor gRPC nor the database.

Training code is Keras 3; TensorFlow itself is imported by `export` alone. Importing this package loads no framework.
"""

import os

# Both are read when the frameworks are first imported, which any module of this package may do.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
