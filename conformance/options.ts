import { parseArgs } from 'node:util';
import { type Profile, PROFILES, type ProfileName } from './profiles.js';
import type { Target } from './target.js';

/** What is to be checked, and how it is told. */
export interface Options {
  readonly target: Target;
  readonly profileName: ProfileName;
  /** With the statuses that were given in place of its own. */
  readonly profile: Profile;
  readonly json: boolean;
}

/** What a timer can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** A command line that makes no sense. */
export class UsageError extends Error {}

export const USAGE = `Usage: npm run conformance -- --url http://localhost:3000 [options]

Sends requests to a service with idempotency keys, as its clients do, and checks what it promises. What is not told is asked
for as this service has it. It makes dozens of charges, or whatever the operation makes: point it at a test account.

  --url URL             the service, without a path
  --profile NAME        what it is held to: ${Object.keys(PROFILES).join(', ')}
  --method METHOD       the operation's method: POST
  --path PATH           and its path: /charges
  --header 'Name: v'    sent with every request, such as credentials, or another Content-Type; may be repeated
  --other-header '…'    credentials of somebody else, to see that keys do not cross; may be repeated
  --key-header NAME     the header of the key: Idempotency-Key
  --body JSON           a valid body; {{unique}} in this and the others becomes another word for each key, such as an order number
  --other-body JSON     another valid body
  --invalid-body JSON   one that validation refuses; '' for none
  --refused-body JSON   one that is refused for good, such as a declined card; '' for none
  --success STATUSES    of a success: 200; several with commas
  --mismatch STATUSES   of a key with another body: as the profile has it
  --in-progress STATUSES of a duplicate while the first is under way, beside its reply; '' for none: as the profile has it
  --missing-key STATUSES of a request without a key, or accepted: as the profile has it
  --id MEMBER           the member of a reply that names what was made, such as data.id: id
  --effects PATH        where what was made is listed, the newest first, or counted; '' where nowhere: /charges?limit=100
  --effects-list MEMBER the member of that answer that is the list, or the number; '' for the answer itself: data
  --timeout-ms MS       that an answer may take: 15000
  --json                prints the findings as JSON, and nothing else with npm run --silent

Exit code: 0 when nothing failed, 1 when something did, 2 when it could not be run.
`;

/**
 * @returns `help` when that was asked for
 * @throws UsageError that says what was expected
 */
export function readOptions(args: string[]): Options | 'help' {
  const values = parse(args);
  if (values.help) return 'help';
  const url = expected('--url', values.url ?? '', isService, 'http://… or https://… without a path');
  const profileName = values.profile as ProfileName;
  if (!Object.hasOwn(PROFILES, profileName)) {
    throw new UsageError(`--profile ${profileName}: expected one of ${Object.keys(PROFILES).join(', ')}`);
  }
  const { mismatch, 'in-progress': inProgress, 'missing-key': missingKey } = values;
  const timeoutMs = Number(values['timeout-ms']);
  if (!(timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS))
    throw new UsageError(`--timeout-ms ${values['timeout-ms']}: expected milliseconds`);
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
      method: expected('--method', values.method, isToken, 'a method such as POST').toUpperCase(),
      path: expected('--path', values.path, isPath, 'a path such as /charges'),
      headers: headersOf('--header', values.header),
      ...(values['other-header'].length > 0 && { otherHeaders: headersOf('--other-header', values['other-header']) }),
      keyHeader: expected('--key-header', values['key-header'], isToken, 'the name of a header'),
      body: json('--body', values.body),
      otherBody: json('--other-body', values['other-body']),
      ...(values['invalid-body'] !== '' && { invalidBody: values['invalid-body'] }),
      ...(values['refused-body'] !== '' && { refusedBody: json('--refused-body', values['refused-body']) }),
      success: statuses('--success', values.success),
      id: values.id,
      ...(values.effects !== '' && {
        effects: {
          path: expected('--effects', values.effects, isPath, 'a path such as /charges'),
          member: values['effects-list'],
        },
      }),
      timeoutMs,
    },
  };
}

function parse(args: string[]) {
  const text = (value: string) => ({ type: 'string', default: value }) as const;
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  try {
    return parseArgs({
      args,
      options: {
        url: { type: 'string' },
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
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

const isToken = (text: string) => /^[\w-]+$/.test(text);
const isPath = (text: string) => text.startsWith('/') && !text.startsWith('//');
const isService = (text: string) =>
  /^https?:\/\//.test(text) && URL.canParse(text) && new URL(text).href === `${new URL(text).origin}/`;

function expected(option: string, text: string, isRight: (text: string) => boolean, what: string): string {
  if (!isRight(text)) throw new UsageError(`${option} ${text}: expected ${what}`);
  return text;
}

function headersOf(option: string, lines: string[]): string[] {
  return lines.flatMap((line) => {
    const [, name, value] = /^([\w-]+): *([\t\x20-\x7e]*)$/.exec(line) ?? [];
    // The value may be a secret.
    if (name === undefined || value === undefined) throw new UsageError(`${option}: expected 'Name: value', in ASCII`);
    return [name, value];
  });
}

function statuses(option: string, text: string): number[] {
  const all = text.split(',').map(Number);
  if (!all.every((status) => Number.isInteger(status) && status >= 200 && status < 600)) {
    throw new UsageError(`${option} ${text}: expected statuses such as 200,201`);
  }
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
