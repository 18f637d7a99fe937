"""The stealth suite: what betrays a decoy, checked against golden transcripts of real products."""
