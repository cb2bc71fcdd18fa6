#!/bin/sh
# Creates the role and the database of the service, when Patroni has created the cluster. Patroni passes the URL of the superuser.
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set password="$PAYMENTS_PASSWORD" "$1" <<'END'
CREATE ROLE payments LOGIN PASSWORD :'password';
CREATE DATABASE payments OWNER payments;
END
