"""What every part of evaluation speaks of: runs, scores, quantities, statistics."""
