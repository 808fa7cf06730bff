"""What was learnt, measured by the oracle, which no judge sees."""
