#!/usr/bin/env bash
# Sends the requests of the service to Stripe's stripe-mock, which refuses requests that do not have the shape of Stripe's API.
# Needs stripe-mock, which test/stripe/stripe-mock.sh builds with Go.
set -euo pipefail
cd "$(dirname "$0")/../.."
stripe_mock=$(test/stripe/stripe-mock.sh)
exec node dist/test/stripe/main.js "$stripe_mock"
