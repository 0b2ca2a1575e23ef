"""From a trained model to an ONNX deployment: export, proof of equality, latency, prediction."""
