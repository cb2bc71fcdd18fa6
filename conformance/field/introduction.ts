/** The beginning of `docs/field.md`. */
export const INTRODUCTION = `# The field, measured

Written by \`npm run field\`. No verdict was edited. The program installs each library, starts the smallest server that its own documentation describes, runs
the [conformance kit](conformance.md) against that server, and stops it. [This project](../README.md) is measured in the same way.

## How to read the tables

- **✓**: the check passed. **–**: the check does not apply, because the library documents no such rule. **?**: the check could not decide.
- Each failure names its harm. **double effect**: one key charged twice. **lost effect**: a client got a success, and nothing was charged. **wrong reply**: a client got
  a reply that is not its own, or that differs from the first reply. **stuck key**: a retry got no reply within the lease that the library documents. **broken
  rule**: another status or header than the rule asks for.
- **(in parentheses)**: the documentation of the library says that it does not promise this, so the cell is not a failure.

## What is measured

- Every server has the same operation: \`POST /charges\` inserts one row into PostgreSQL, and this row is the effect. \`GET /charges\` counts the rows. Members of the body make
  the server wait before and after the insert. An invalid amount is a 400, and a declined card is a 402. The servers are in [\`conformance/field\`](../conformance/field).
- The library keeps its keys in the store that the table names. It has its default settings, except for the settings that its section below lists.
- The kit receives the statuses and headers that the library documents. A library is not blamed for a 502, a 423 or another name of a header.
- \`replicas\` runs two processes on one store. \`crash\` kills the process with \`kill -9\` between effect and reply and before the effect, starts it again, and retries until a
  reply or the documented lease. \`expiry\` uses a lifetime of two seconds. A library that has one setting for lifetime and lease
  gets both.
- **sometimes**: two requests race, and the harm appears if one of them loses. The program repeats such a check until the harm appears, six times at most. The section of
  the library says how many runs were needed. A harm that was seen once stays in the table until the version changes, because a race that is won later refutes nothing.
- A failure is a fact about one version in one configuration, not a judgement about a library. Several libraries are meant for other tasks than payments.

## Not measured

The package registries that were used do not have @nestarc/idempotency, @node-idempotency/express, @node-idempotency/fastify, fastify-idempotency, hono-idempotency,
express-idempotency-middleware, idempotency-header-middleware, idempotency4j, and the starters for Spring Boot that we know. axum-idempotent is measured with its PostgreSQL store,
because its Redis store needs Redis 7.4.

## Run it

\`\`\`sh
npm run field
npm run field -- --language typescript --check
\`\`\`

The first command measures all libraries and writes this document. It needs redis-server, Python 3 with venv, Go, Cargo, and Maven with Java 17. The second command measures the
libraries from npm, compares the verdicts with this document, and exits with 1 if a verdict differs.`;
