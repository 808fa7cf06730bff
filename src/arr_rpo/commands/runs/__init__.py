"""What commands do with runs: start and resume them, share them out to processes, and read what others have run."""
