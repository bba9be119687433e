#!/bin/sh
# Run once by the PostgreSQL container on an empty data folder: the roles, with passwords from secret files.
set -eu
exec psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres \
    -v owner_password="$(cat /run/secrets/owner_password)" -v relay_password="$(cat /run/secrets/relay_password)" -f /etc/sluis-roles.sql
