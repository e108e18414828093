"""The parts of fuzz_files.py."""
