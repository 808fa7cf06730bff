"""What surrounds a run, whatever it trains: who is at work in its folder, and which code it ran."""
