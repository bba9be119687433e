-- The roles of a deployment and the database, once: psql -f roles.sql -v owner_password=… -v relay_password=… [-v listen_password=…]
-- sluis_owner owns the tables and migrates them. The others own nothing, so that they can neither drop the append-only triggers nor truncate:
-- sluis_relay is the relay (of two services the one that delivers); sluis_listen, with a password only, the service that accepts.
\set ON_ERROR_STOP on
SET password_encryption = 'scram-sha-256';
CREATE ROLE sluis_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE sluis_relay LOGIN PASSWORD :'relay_password';
CREATE DATABASE sluis OWNER sluis_owner ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE sluis FROM PUBLIC;
GRANT CONNECT ON DATABASE sluis TO sluis_owner, sluis_relay;
\if :{?listen_password}
    CREATE ROLE sluis_listen LOGIN PASSWORD :'listen_password';
    GRANT CONNECT ON DATABASE sluis TO sluis_listen;
\endif
\connect sluis
ALTER SCHEMA public OWNER TO sluis_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
