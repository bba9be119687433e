"""What is open now: the phase, the brake, and the epoch that a decision is valid for."""
