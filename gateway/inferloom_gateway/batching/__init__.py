"""Answers the lines of batches: claims them, asks as any client would, and makes files of the answers."""
