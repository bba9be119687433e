"""SPF, DKIM and DMARC of mail that comes from outside. Promise: whatever DNS or a sender says, it ends soon, and what could not be asked is
`temperror` and never `pass`.
"""
