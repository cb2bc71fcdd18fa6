#!/bin/sh
# Creates the role and the database of the service. Patroni runs this after it has created the cluster, and passes the URL of the superuser.
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set password="$PAYMENTS_PASSWORD" "$1" <<'END'
CREATE ROLE payments LOGIN PASSWORD :'password';
CREATE DATABASE payments OWNER payments;
END
