"""What a model holds: sparsity, bits and bytes, per layer and in all."""
