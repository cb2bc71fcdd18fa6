/** Facts about Powertools for AWS Lambda in TypeScript and in Python. */
export const POWERTOOLS = {
  configuration:
    'The key is the header `Idempotency-Key`, selected by a JMESPath expression. A stand-in for API Gateway runs the function with a timeout of ten seconds, which is the lease.',
  promise:
    'a function does not run more than once for one key within a window of time, and returns the same result; an execution that timed out halfway may run again',
  notPromised: {
    mismatch:
      'Payload validation is off by default. The documentation says that the stored result is returned for another payload then.',
    scope:
      'The application decides which parts of the event make the key, and may add the user to the expression. The expression of this server selects the header only.',
    'invalid-body':
      'Each returned value is a result and is stored, also a 400. The documentation says that only an exception deletes the record.',
  },
  reasons: {
    crash:
      'A record in progress expires with the timeout of the function. The next invocation runs the function again, and cannot know that the first run had its effect.',
  },
} as const;
