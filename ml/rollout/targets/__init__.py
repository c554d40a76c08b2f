"""The places a roll-out can deploy to."""
