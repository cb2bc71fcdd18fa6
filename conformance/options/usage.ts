export const USAGE = `Usage: idempotency-conformance --url http://localhost:3000 [options]
       idempotency-conformance --openapi FILE [--key-header NAME]

Sends requests with idempotency keys to a service, as its clients do, and checks what the service promises. The check makes hundreds of
charges, or of the resources that the operation creates, so use a test account.

The operation. Without --path it is POST /charges of the payment service that this kit comes from, with its bodies. With --path, no body
has a default, and a check whose body is missing is skipped.
  --url URL             the service, without a path
  --method METHOD       the method (default: POST)
  --path PATH           the path; {{unique}} in the path or in a body becomes a different word for each key, such as an order number
  --header 'Name: v'    a header of every request, such as credentials or another Content-Type; may be repeated
  --body BODY           a valid body: JSON, unless --header names another Content-Type; '' for a request without a body
  --other-body BODY     another valid body
  --invalid-body BODY   a body that validation refuses; '' for none
  --refused-body BODY   a body with a final refusal, such as a declined card; '' for none
  --slow-body BODY      a valid body whose request takes half a second or more, for the checks hang-up and crash
  --timeout-ms MS       the longest time that an answer may take (default: 15000)
  --openapi FILE        list the operations of an OpenAPI document (JSON) that take a key, with their options, and check nothing

The effects of the operation
  --effects PATH        the path that lists the created resources, newest first, or counts them; '' for none
  --effects-list MEMBER the member of that answer that is the list or the number; '' for the answer itself (default: data)
  --effects-command CMD a command for sh that prints the number of effects, instead of --effects
  --effects-per-request N  by how much one request raises the number of effects (default: 1)
  --id MEMBER           the member of a reply that contains the id of the created resource, such as data.id (default: id)

The rules
  --profile NAME        ours, draft (the IETF draft) or stripe (default: ours); the options below replace single rules of the profile
  --key-header NAME     the name of the key's header (default: Idempotency-Key)
  --key-form FORM       quoted or bare
  --max-key-length N    the length of the longest key that is accepted; '' for no limit
  --replay-header 'Name: v'  the header that marks a replayed reply; '' for none
  --success STATUSES    the statuses of a success, separated by commas (default: any 2xx)
  --mismatch STATUSES   the statuses of a used key with another body
  --in-progress STATUSES  the statuses of a duplicate that does not get the reply while the first request is in flight; '' for none
  --missing-key STATUSES  the statuses of a request without a key, or the word accepted
  --malformed-key STATUSES  the statuses of a malformed key

Checks that need more than one URL
  --other-header 'Name: v'  the credentials of another account, for the check scope; may be repeated
  --second-url URL      another replica of the service, for the check replicas
  --ttl SECONDS         how long the service keeps a key, for the check expiry; use a service that keeps keys for seconds
  --kill-command CMD    a command for sh that kills the service at once, for the check crash. The kit kills nothing else
  --restart-command CMD a command for sh that starts the service again; not needed if the service is restarted by itself
  --lease SECONDS       how long a key may stay stuck after a crash (default: 30)
  --only CHECKS         run only these checks, separated by commas
  --skip CHECKS         leave out these checks

The report
  --format FORMAT       text, json, junit or tap (default: text); progress and errors go to stderr

Exit code: 0 if the service passes, 1 if a check failed, 2 if the service cannot be reached, refuses the first request, or the command line
cannot be used, 3 if no check failed and a check could not be decided. A skipped check does not change the exit code.
`;
