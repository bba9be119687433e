"""The rules that every policy has, because without them unknown or dangerous mail could pass. They are named like any other."""

MALWARE = "malware"
UNDECIDABLE = "undecidable"
HEADER = "header"
BRAKE = "brake"

BUILTIN_RULES = frozenset({MALWARE, UNDECIDABLE, HEADER, BRAKE})
BUILTIN_FINAL = frozenset({MALWARE, BRAKE})
"""No waiver takes these away; a release by two people takes `malware` away for one message, and nothing takes `brake` away but letting
it go.
"""
