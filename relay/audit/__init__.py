"""Events: what was done, by whom, why, in canonical form behind a salted commitment. Promise: nothing personal in what cannot be erased."""
