"""Lightning callbacks: the judge's seat, and what the user sees."""
