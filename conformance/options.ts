import { expected, integer, oneOf, parseOptions, UsageError } from '../harness/options.js';
import { type Profile, PROFILES, type ProfileName } from './profiles.js';
import type { Target } from './target.js';

/** The operation to check, the rules for it, and the form of the report. */
export interface Options {
  readonly target: Target;
  readonly profileName: ProfileName;
  /** The profile, with the statuses that replace its own. */
  readonly profile: Profile;
  readonly json: boolean;
}

/** The longest time that a timer can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];

export const USAGE = `Usage: npm run conformance -- --url http://localhost:3000 [options]

Sends requests with idempotency keys to a service, as its clients do, and checks what the service promises. The defaults fit the service
of this project. The check makes dozens of charges, or of the resources that the operation creates, so use a test account.

  --url URL             the service, without a path
  --profile NAME        the rules that the service must follow: ${PROFILE_NAMES.join(', ')} (default: ours)
  --method METHOD       the method of the operation (default: POST)
  --path PATH           the path of the operation (default: /charges)
  --header 'Name: v'    a header of every request, such as credentials or another Content-Type; may be repeated
  --other-header '…'    the credentials of another account, to check that accounts do not share keys; may be repeated
  --key-header NAME     the name of the key's header (default: Idempotency-Key)
  --body JSON           a valid body; {{unique}} in any body becomes a different word for each key, such as an order number
  --other-body JSON     another valid body
  --invalid-body JSON   a body that validation refuses; '' for none
  --refused-body JSON   a body with a final refusal, such as a declined card; '' for none
  --success STATUSES    the statuses of a success, separated by commas (default: 200)
  --mismatch STATUSES   the statuses of a used key with another body (default: as in the profile)
  --in-progress STATUSES  the statuses of a duplicate that does not get the reply while the first request is in flight; '' for none (default: as in the profile)
  --missing-key STATUSES  the statuses of a request without a key, or the word accepted (default: as in the profile)
  --id MEMBER           the member of a reply that contains the id of the created resource, such as data.id (default: id)
  --effects PATH        the path that lists the created resources, newest first, or counts them; '' for none (default: /charges?limit=100)
  --effects-list MEMBER the member of that answer that is the list or the number; '' for the answer itself (default: data)
  --timeout-ms MS       the longest time that an answer may take (default: 15000)
  --json                print the findings as JSON; with npm run --silent, npm prints nothing else

Exit code: 0 if no check failed, 1 if a check failed, 2 if the service could not be checked.
`;

/** @throws UsageError if the command line cannot be used */
export function readOptions(args: string[]): Options {
  const values = parse(args);
  const url = expected('--url', values.url, isService(values.url), 'http://… or https://… without a path');
  const profileName = oneOf('--profile', values.profile, PROFILE_NAMES);
  const { mismatch, 'in-progress': inProgress, 'missing-key': missingKey } = values;
  return {
    profileName,
    profile: {
      ...PROFILES[profileName],
      ...(mismatch !== undefined && { otherBody: statuses('--mismatch', mismatch) }),
      ...(inProgress !== undefined && { inProgress: inProgress === '' ? [] : statuses('--in-progress', inProgress) }),
      ...(missingKey !== undefined && {
        missingKey: missingKey === 'accepted' ? missingKey : statuses('--missing-key', missingKey),
      }),
    },
    json: values.json,
    target: {
      url,
      method: token('--method', values.method, 'a method such as POST').toUpperCase(),
      path: path('--path', values.path),
      headers: headersOf('--header', values.header),
      ...(values['other-header'].length > 0 && { otherHeaders: headersOf('--other-header', values['other-header']) }),
      keyHeader: token('--key-header', values['key-header'], 'the name of a header'),
      body: json('--body', values.body),
      otherBody: json('--other-body', values['other-body']),
      ...(values['invalid-body'] !== '' && { invalidBody: values['invalid-body'] }),
      ...(values['refused-body'] !== '' && { refusedBody: json('--refused-body', values['refused-body']) }),
      success: statuses('--success', values.success),
      id: values.id,
      ...(values.effects !== '' && {
        effects: { path: path('--effects', values.effects), member: values['effects-list'] },
      }),
      timeoutMs: integer('--timeout-ms', values['timeout-ms'], 1, MAX_TIMEOUT_MS),
    },
  };
}

function parse(args: string[]) {
  const text = (value: string) => ({ type: 'string', default: value }) as const;
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  return parseOptions({
    args,
    options: {
      url: text(''),
      profile: text('ours'),
      method: text('POST'),
      path: text('/charges'),
      header: texts,
      'other-header': texts,
      'key-header': text('Idempotency-Key'),
      body: text('{"amount": 1999, "currency": "eur"}'),
      'other-body': text('{"amount": 2000, "currency": "eur"}'),
      'invalid-body': text('{"amount": -1, "currency": "eur"}'),
      'refused-body': text('{"amount": 1999, "currency": "eur", "source": "tok_chargeDeclined"}'),
      success: text('200'),
      mismatch: { type: 'string' },
      'in-progress': { type: 'string' },
      'missing-key': { type: 'string' },
      id: text('id'),
      effects: text('/charges?limit=100'),
      'effects-list': text('data'),
      'timeout-ms': text('15000'),
      json: { type: 'boolean', default: false },
    },
  }).values;
}

const isService = (text: string) =>
  /^https?:\/\//.test(text) && URL.canParse(text) && new URL(text).href === `${new URL(text).origin}/`;

const token = (option: string, text: string, what: string) => expected(option, text, /^[\w-]+$/.test(text), what);

const path = (option: string, text: string) =>
  expected(option, text, text.startsWith('/') && !text.startsWith('//'), 'a path such as /charges');

function headersOf(option: string, lines: string[]): string[] {
  return lines.flatMap((line) => {
    const [, name, value] = /^([\w-]+): *([\t\x20-\x7e]*)$/.exec(line) ?? [];
    // The error does not contain the line, because the value may be a secret.
    if (name === undefined || value === undefined) throw new UsageError(`${option}: expected 'Name: value', in ASCII`);
    return [name, value];
  });
}

function statuses(option: string, text: string): number[] {
  const all = text.split(',').map(Number);
  const areValid = all.every((status) => Number.isInteger(status) && status >= 200 && status < 600);
  expected(option, text, areValid, 'statuses such as 200,201');
  return all;
}

function json(option: string, text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    throw new UsageError(`${option} ${text}: expected JSON`);
  }
}
