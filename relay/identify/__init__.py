"""Which client is this: address, certificate or login. Promise: who is not named in policy is nobody."""
