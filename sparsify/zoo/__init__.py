"""The zoo: stubs, and the folders they stand for."""
